import { type ReactNode, useRef } from "react";
import { columnsIn, edgesOf, indexesOf, rowsIn, type View } from "../ui/sight";
import { useSight } from "../ui/useSight";
import styles from "./Matrix.module.css";

interface Props {
  label: string;
  rowCount: number;
  columnCount: number;
  corner: ReactNode;
  columnHead: (column: number) => ReactNode;
  rowHead: (row: number) => ReactNode;
  cell: (row: number, column: number) => ReactNode;
  /** What stands across all columns in place of the cells of a row; null for a row with cells. */
  band?: (row: number) => ReactNode | null;
}

const ROW_HEIGHT = 28;
const HEAD_HEIGHT = 48;
const COLUMN = { least: 176, most: 640 };
const HEAD = { narrow: 132, wide: 280, from: 700 };

/** Where the heads of the rows end, and where each column does, in so wide a view. */
function edgesIn({ clientWidth }: View, columnCount: number): number[] {
  const headWidth = clientWidth < HEAD.from ? HEAD.narrow : HEAD.wide;
  const width = Math.max(COLUMN.least, Math.min(COLUMN.most, Math.floor((clientWidth - headWidth) / Math.max(columnCount, 1))));
  return edgesOf(headWidth, new Array<number>(columnCount).fill(width));
}

/** A table of which only what is in sight is in the document, both ways; heads of rows and columns stay in sight. */
export function Matrix({ label, rowCount, columnCount, corner, columnHead, rowHead, cell, band }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const { rows, columns, view } = useSight(scroller, (seen) => ({
    rows: rowsIn(seen, { count: rowCount, height: ROW_HEIGHT, headHeight: HEAD_HEIGHT }),
    columns: columnsIn(seen, edgesIn(seen, columnCount)),
  }));
  const edges = edgesIn(view, columnCount);
  const headWidth = edges[0]!;
  const full = Math.max(view.clientWidth, edges.at(-1)!);
  const visible = indexesOf(columns);
  const at = (index: number) => ({ left: edges[index]!, width: edges[index + 1]! - edges[index]! });
  return (
    <div ref={scroller} className={styles.scroller} role="region" aria-label={label} tabIndex={0}>
      <div role="table" aria-label={label} aria-rowcount={rowCount + 1} aria-colcount={columnCount + 1} className={styles.table} style={{ width: full, height: HEAD_HEIGHT + rowCount * ROW_HEIGHT }}>
        <div role="row" aria-rowindex={1} className={styles.heads} style={{ width: full, height: HEAD_HEIGHT }}>
          <div role="columnheader" aria-colindex={1} className={styles.corner} style={{ width: headWidth }}>
            {corner}
          </div>
          {visible.map((index) => (
            <div key={index} role="columnheader" aria-colindex={index + 2} className={styles.columnHead} style={at(index)}>
              {columnHead(index)}
            </div>
          ))}
        </div>
        {indexesOf(rows).map((row) => {
          const across = band?.(row) ?? null;
          return (
            <div key={row} role="row" aria-rowindex={row + 2} className={across === null ? styles.row : styles.band} style={{ top: HEAD_HEIGHT + row * ROW_HEIGHT, width: full, height: ROW_HEIGHT }}>
              {across === null ? (
                <>
                  <div role="rowheader" aria-colindex={1} className={styles.rowHead} style={{ width: headWidth }}>
                    {rowHead(row)}
                  </div>
                  {visible.map((index) => (
                    <div key={index} role="cell" aria-colindex={index + 2} className={styles.cell} style={at(index)}>
                      {cell(row, index)}
                    </div>
                  ))}
                </>
              ) : (
                <div role="rowheader" aria-colindex={1} aria-colspan={columnCount + 1} className={styles.bandHead}>
                  {across}
                </div>
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
