import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useRef, useState } from "react";
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

/** The size of an element, as it changes. */
function useWidth(element: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watching = new ResizeObserver(() => setWidth(element.current?.clientWidth ?? 0));
    watching.observe(element.current!);
    return () => watching.disconnect();
  }, [element]);
  return width;
}

/** A table of which only what is in sight is in the document, both ways; heads of rows and columns stay in sight. */
export function Matrix({ label, rowCount, columnCount, corner, columnHead, rowHead, cell, band }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const width = useWidth(scroller);
  const headWidth = width < HEAD.from ? HEAD.narrow : HEAD.wide;
  const columnWidth = Math.max(COLUMN.least, Math.min(COLUMN.most, Math.floor((width - headWidth) / Math.max(columnCount, 1))));
  const getScrollElement = () => scroller.current;
  const rows = useVirtualizer({ count: rowCount, getScrollElement, estimateSize: () => ROW_HEIGHT, overscan: 8, scrollMargin: HEAD_HEIGHT });
  const columns = useVirtualizer({ horizontal: true, count: columnCount, getScrollElement, estimateSize: () => columnWidth, overscan: 2, scrollMargin: headWidth });
  useEffect(() => columns.measure(), [columns, columnWidth]);

  const full = Math.max(width, headWidth + columnCount * columnWidth);
  const visible = columns.getVirtualItems();
  const at = (start: number) => ({ left: start, width: columnWidth });
  return (
    <div ref={scroller} className={styles.scroller} role="region" aria-label={label} tabIndex={0}>
      <div role="table" aria-label={label} aria-rowcount={rowCount + 1} aria-colcount={columnCount + 1} className={styles.table} style={{ width: full, height: HEAD_HEIGHT + rows.getTotalSize() }}>
        <div role="row" aria-rowindex={1} className={styles.heads} style={{ width: full, height: HEAD_HEIGHT }}>
          <div role="columnheader" aria-colindex={1} className={styles.corner} style={{ width: headWidth }}>
            {corner}
          </div>
          {visible.map(({ index, start }) => (
            <div key={index} role="columnheader" aria-colindex={index + 2} className={styles.columnHead} style={at(start)}>
              {columnHead(index)}
            </div>
          ))}
        </div>
        {rows.getVirtualItems().map(({ index: row, start }) => {
          const across = band?.(row) ?? null;
          return (
            <div key={row} role="row" aria-rowindex={row + 2} className={across === null ? styles.row : styles.band} style={{ top: start, width: full, height: ROW_HEIGHT }}>
              {across === null ? (
                <>
                  <div role="rowheader" aria-colindex={1} className={styles.rowHead} style={{ width: headWidth }}>
                    {rowHead(row)}
                  </div>
                  {visible.map(({ index, start: left }) => (
                    <div key={index} role="cell" aria-colindex={index + 2} className={styles.cell} style={at(left)}>
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
