/* A grid of any number of rows and columns, of which only those in sight are in the document. */
import { type KeyboardEvent, memo, type MouseEvent, type ReactNode, useId, useMemo, useRef, useState } from "react";
import { columnsOf, edgesOf, indexesOf, revealing, rowsIn } from "../ui/sight";
import { useSight } from "../ui/useSight";
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

/** What stands in a cell. One that is only a text costs one element, and there are hundreds of them. */
export interface Content {
  shown: ReactNode;
  /** The whole of it, where less is shown. */
  title?: string;
  isMuted?: boolean;
}

interface Props {
  label: string;
  columns: readonly GridColumn[];
  /** How many of the first columns stay in sight; at least one. */
  pinned: number;
  rowCount: number;
  isSelected: (row: number) => boolean;
  contentOf: (row: number, column: number) => Content;
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

export function Grid({ label, columns, pinned, rowCount, isSelected, contentOf, onOpen, onSelect, onExtend, onKey }: Props) {
  const id = useId();
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<Cell>({ row: 0, column: 0 });

  const fixedWidth = columns.slice(0, pinned).reduce((sum, { width }) => sum + width, 0);
  const edges = useMemo(() => edgesOf(fixedWidth, columns.slice(pinned).map(({ width }) => width)), [columns, pinned, fixedWidth]);
  const width = edges.at(-1)!;
  const { rows, columns: lanes } = useSight(scroller, (view) => {
    const rows = rowsIn(view, { count: rowCount, height: ROW_PX, headHeight: HEADER_PX });
    return { rows, columns: columnsOf(rows, view, edges) };
  });
  const places = useMemo(() => {
    const fixed = columns.slice(0, pinned).map((column, index): Place => ({ index, column, style: { width: column.width } }));
    const free = columns.slice(pinned + lanes.from, pinned + lanes.to).map((column, at): Place => {
      const style = at === 0 ? { width: column.width, marginLeft: edges[lanes.from]! - fixedWidth } : { width: column.width };
      return { index: pinned + lanes.from + at, column, style };
    });
    return [...fixed, ...free];
  }, [columns, pinned, edges, fixedWidth, lanes.from, lanes.to]);

  function go(to: Cell): void {
    setActive(to);
    const grid = scroller.current!;
    const top = to.row * ROW_PX;
    grid.scrollTop = revealing(grid.scrollTop, top, top + ROW_PX, 0, grid.clientHeight - HEADER_PX);
    const lane = to.column - pinned;
    if (lane >= 0) {
      grid.scrollLeft = revealing(grid.scrollLeft, edges[lane]!, edges[lane + 1]!, fixedWidth, grid.clientWidth);
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

  function pointed(event: MouseEvent): void {
    const cell = (event.target as Element).closest("[role=gridcell]");
    const row = cell?.closest("[role=row]");
    if (cell && row) {
      setActive({ row: Number(row.ariaRowIndex) - 2, column: Number(cell.ariaColIndex) - 1 });
    }
  }

  const activeRow = Math.min(active.row, rowCount - 1);
  return (
    <div
      ref={scroller}
      className={styles.grid}
      role="grid"
      aria-label={label}
      aria-rowcount={rowCount + 1}
      aria-colcount={columns.length}
      aria-multiselectable="true"
      aria-activedescendant={rowCount > 0 ? id : undefined}
      tabIndex={0}
      onKeyDown={pressed}
      onMouseDown={pointed}
    >
      <div role="rowgroup" className={styles.head} style={{ width }}>
        <Head places={places} pinned={pinned} fixedWidth={fixedWidth} />
      </div>
      <div role="rowgroup" className={styles.body} style={{ width, height: rowCount * ROW_PX }}>
        {indexesOf(rows).map((index) => (
          <Row
            key={index}
            row={index}
            places={places}
            pinned={pinned}
            fixedWidth={fixedWidth}
            isSelected={isSelected(index)}
            activeColumn={index === activeRow ? active.column : null}
            activeId={id}
            contentOf={contentOf}
          />
        ))}
      </div>
    </div>
  );
}

/** A column in sight, and where it stands: behind the one before it. */
interface Place {
  index: number;
  column: GridColumn;
  style: { width: number; marginLeft?: number };
}

interface HeadProps {
  places: readonly Place[];
  pinned: number;
  fixedWidth: number;
}

const Head = memo(function Head({ places, pinned, fixedWidth }: HeadProps) {
  const head = ({ index, column, style }: Place) => (
    <div
      key={column.key}
      role="columnheader"
      aria-colindex={index + 1}
      aria-sort={column.sorted ?? undefined}
      className={`${styles.columnHead} ${column.isNumeric ? styles.numberHead : ""}`}
      style={style}
    >
      {column.header}
    </div>
  );
  return (
    <div role="row" aria-rowindex={1} className={styles.row}>
      <div className={styles.fixed} role="presentation" style={{ width: fixedWidth }}>
        {places.slice(0, pinned).map(head)}
      </div>
      {places.slice(pinned).map(head)}
    </div>
  );
});

interface RowProps extends HeadProps {
  row: number;
  isSelected: boolean;
  activeColumn: number | null;
  activeId: string;
  contentOf: (row: number, column: number) => Content;
}

const DIGIT_PX = 10; // also where a browser makes small letters larger
const PADDING_PX = 16;

/** Whether it is a number for which there is certainly room: to cut them costs an eighth of a frame. */
function fits(shown: ReactNode, { isNumeric, width }: GridColumn): boolean {
  return isNumeric && typeof shown === "string" && DIGIT_PX * shown.length + PADDING_PX <= width;
}

const Row = memo(function Row({ row, places, pinned, fixedWidth, isSelected, activeColumn, activeId, contentOf }: RowProps) {
  function cell({ index, column, style }: Place): ReactNode {
    const { shown, title, isMuted = false } = contentOf(row, index);
    const isActive = index === activeColumn;
    return (
      <div
        key={column.key}
        id={isActive ? activeId : undefined}
        role="gridcell"
        aria-colindex={index + 1}
        className={`${styles.cell} ${column.isNumeric ? styles.number : ""} ${fits(shown, column) ? "" : styles.cut} ${isMuted ? "muted" : ""} ${isActive ? styles.active : ""}`}
        style={style}
        title={title}
      >
        {shown}
      </div>
    );
  }
  return (
    <div role="row" aria-rowindex={row + 2} aria-selected={isSelected} className={styles.row} style={{ top: row * ROW_PX, height: ROW_PX }}>
      <div className={styles.fixed} role="presentation" style={{ width: fixedWidth }}>
        {places.slice(0, pinned).map(cell)}
      </div>
      {places.slice(pinned).map(cell)}
    </div>
  );
});
