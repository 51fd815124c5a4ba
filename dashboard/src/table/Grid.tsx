/* A grid of any number of rows and columns, of which only those in sight are in the document. */
import { useVirtualizer, type VirtualItem } from "@tanstack/react-virtual";
import { type KeyboardEvent, memo, type ReactNode, useCallback, useEffect, useId, useMemo, useRef, useState } from "react";
import { ROW_PX } from "./columns";
import styles from "./Grid.module.css";

const HEADER_PX = 30;

export interface GridColumn {
  key: string;
  width: number;
  isNumeric: boolean;
  sorted: "ascending" | "descending" | null;
  header: ReactNode;
}

export interface Cell {
  row: number;
  column: number;
}

interface Props {
  label: string;
  columns: readonly GridColumn[];
  /** How many of the first columns stay in sight; at least one. */
  pinned: number;
  rowCount: number;
  isSelected: (row: number) => boolean;
  renderCell: (row: number, column: number) => ReactNode;
  onOpen: (row: number) => void;
  onSelect: (row: number) => void;
  /** All rows from one to the other, both included. */
  onExtend: (from: number, to: number) => void;
  /** Any other key, at the active cell. Says whether it meant something. */
  onKey: (key: string, active: Cell) => boolean;
}

/** Moves by key; null is not one that moves. */
function moved({ row, column }: Cell, key: string, rows: number, columns: number, page: number): Cell | null {
  const clamped = (to: Cell): Cell => ({
    row: Math.max(0, Math.min(rows - 1, to.row)),
    column: Math.max(0, Math.min(columns - 1, to.column)),
  });
  switch (key) {
    case "ArrowDown":
    case "j":
      return clamped({ row: row + 1, column });
    case "ArrowUp":
    case "k":
      return clamped({ row: row - 1, column });
    case "ArrowRight":
      return clamped({ row, column: column + 1 });
    case "ArrowLeft":
      return clamped({ row, column: column - 1 });
    case "PageDown":
      return clamped({ row: row + page, column });
    case "PageUp":
      return clamped({ row: row - page, column });
    case "Home":
      return clamped({ row, column: 0 });
    case "End":
      return clamped({ row, column: columns - 1 });
    default:
      return null;
  }
}

export function Grid({ label, columns, pinned, rowCount, isSelected, renderCell, onOpen, onSelect, onExtend, onKey }: Props) {
  const id = useId();
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<Cell>({ row: 0, column: 0 });

  const fixed = columns.slice(0, pinned);
  const free = columns.slice(pinned);
  const fixedWidth = fixed.reduce((sum, { width }) => sum + width, 0);
  const widths = free.map(({ width }) => width).join();

  const rows = useVirtualizer({
    count: rowCount,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 6,
    scrollPaddingStart: HEADER_PX,
  });
  const lanes = useVirtualizer({
    horizontal: true,
    count: free.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => free[index]!.width,
    overscan: 1,
    scrollPaddingStart: fixedWidth,
  });
  useEffect(() => lanes.measure(), [lanes, widths]);

  const shown = lanes.getVirtualItems();
  const width = fixedWidth + lanes.getTotalSize();
  const cellId = useCallback((row: number, column: number) => `${id}-${row}-${column}`, [id]);

  function go(to: Cell): void {
    setActive(to);
    rows.scrollToIndex(to.row);
    if (to.column >= pinned) {
      lanes.scrollToIndex(to.column - pinned);
    }
  }

  function pressed(event: KeyboardEvent): void {
    if (event.target !== scroller.current || event.ctrlKey || event.metaKey || event.altKey || rowCount === 0) {
      return;
    }
    const page = Math.max(1, Math.floor((scroller.current.clientHeight - HEADER_PX) / ROW_PX) - 1);
    const to = moved(active, event.key, rowCount, columns.length, page);
    if (to) {
      if (event.shiftKey) {
        onExtend(active.row, to.row);
      }
      go(to);
    } else if (event.key === "Enter") {
      onOpen(active.row);
    } else if (event.key === " ") {
      onSelect(active.row);
    } else if (!onKey(event.key, active)) {
      return;
    }
    event.preventDefault();
  }

  const place = Math.min(active.row, rowCount - 1);
  return (
    <div
      ref={scroller}
      className={styles.grid}
      role="grid"
      aria-label={label}
      aria-rowcount={rowCount + 1}
      aria-colcount={columns.length}
      aria-multiselectable="true"
      aria-activedescendant={rowCount > 0 ? cellId(place, active.column) : undefined}
      tabIndex={0}
      onKeyDown={pressed}
    >
      <div role="rowgroup" className={styles.head} style={{ width }}>
        <div role="row" aria-rowindex={1} className={styles.row}>
          <div className={styles.fixed} role="presentation" style={{ width: fixedWidth }}>
            {fixed.map((column, index) => (
              <Head key={column.key} column={column} index={index} />
            ))}
          </div>
          {shown.map(({ index, start }) => (
            <Head key={free[index]!.key} column={free[index]!} index={pinned + index} left={fixedWidth + start} />
          ))}
        </div>
      </div>
      <div role="rowgroup" className={styles.body} style={{ width, height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map(({ index, start }) => (
          <Row
            key={index}
            row={index}
            top={start}
            columns={columns}
            pinned={pinned}
            fixedWidth={fixedWidth}
            shown={shown}
            isSelected={isSelected(index)}
            activeColumn={index === place ? active.column : null}
            cellId={cellId}
            renderCell={renderCell}
            onPoint={setActive}
          />
        ))}
      </div>
    </div>
  );
}

function Head({ column, index, left }: { column: GridColumn; index: number; left?: number }) {
  return (
    <div
      role="columnheader"
      aria-colindex={index + 1}
      aria-sort={column.sorted ?? undefined}
      className={`${styles.cell} ${column.isNumeric ? styles.number : ""} ${left === undefined ? "" : styles.placed}`}
      style={{ width: column.width, left }}
    >
      {column.header}
    </div>
  );
}

interface RowProps {
  row: number;
  top: number;
  columns: readonly GridColumn[];
  pinned: number;
  fixedWidth: number;
  shown: VirtualItem[];
  isSelected: boolean;
  activeColumn: number | null;
  cellId: (row: number, column: number) => string;
  renderCell: (row: number, column: number) => ReactNode;
  onPoint: (cell: Cell) => void;
}

const Row = memo(function Row({ row, top, columns, pinned, fixedWidth, shown, isSelected, activeColumn, cellId, renderCell, onPoint }: RowProps) {
  const fixed = useMemo(() => [...columns.slice(0, pinned).keys()], [columns, pinned]);
  const cell = (column: number, left?: number) => (
    <div
      key={columns[column]!.key}
      id={cellId(row, column)}
      role="gridcell"
      aria-colindex={column + 1}
      className={`${styles.cell} ${columns[column]!.isNumeric ? styles.number : ""} ${left === undefined ? "" : styles.placed} ${column === activeColumn ? styles.active : ""}`}
      style={{ width: columns[column]!.width, left }}
      onMouseDown={() => onPoint({ row, column })}
    >
      {renderCell(row, column)}
    </div>
  );
  return (
    <div role="row" aria-rowindex={row + 2} aria-selected={isSelected} className={`${styles.row} ${styles.placed}`} style={{ top, height: ROW_PX }}>
      <div className={styles.fixed} role="presentation" style={{ width: fixedWidth }}>
        {fixed.map((column) => cell(column))}
      </div>
      {shown.map(({ index, start }) => cell(pinned + index, fixedWidth + start))}
    </div>
  );
});
