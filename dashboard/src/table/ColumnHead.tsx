import { type PointerEvent, useRef } from "react";
import type { Column, Sort, Stat } from "../state/url";
import { Middle } from "../ui/Middle";
import { Popover } from "../ui/Popover";
import { label, statOf } from "./columns";
import styles from "./ColumnHead.module.css";

const STATS: readonly Stat[] = ["LAST", "MIN", "MAX", "FIRST", "BEST", "COUNT"];
const STEP_PX = 40;

export interface ColumnActions {
  onSort: (keepOthers: boolean) => void;
  onPin: () => void;
  onHide: () => void;
  /** To the left or to the right. */
  onMove: (by: -1 | 1) => void;
  /** Another column, by its key, was dropped on this one. */
  onDrop: (key: string) => void;
  onWidth: (width: number) => void;
  onStat: (stat: Stat) => void;
  onGroup: () => void;
}

interface Props extends ColumnActions {
  column: Column;
  columnKey: string;
  width: number;
  isPinned: boolean;
  sort: readonly Sort[];
  sorted: Sort | null;
}

const DRAGGED = "text/plain";

/** The head of a column: sorts when it is pressed, moves when it is dragged, and has a menu for everything else. */
export function ColumnHead({ column, columnKey, width, isPinned, sort, sorted, ...actions }: Props) {
  const stat = statOf(column);
  const place = sorted ? sort.indexOf(sorted) : -1;
  return (
    <div
      className={styles.head}
      draggable
      onDragStart={(event) => event.dataTransfer.setData(DRAGGED, columnKey)}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => actions.onDrop(event.dataTransfer.getData(DRAGGED))}
    >
      <button type="button" tabIndex={-1} className={styles.sort} title={`Sort by ${column.key}; with Shift after the others`} onClick={(event) => actions.onSort(event.shiftKey)}>
        <Middle text={label(column)} />
        {stat && <span className={styles.stat}>{stat}</span>}
        {sorted && (
          <span className={styles.mark} aria-hidden="true">
            {sorted.descending ? "▼" : "▲"}
            {sort.length > 1 && place + 1}
          </span>
        )}
      </button>
      <Popover label="⋮" name={`Column ${column.key}`} className={styles.more}>
        {(close) => {
          const item = (text: string, run: () => void) => (
            <button
              type="button"
              className="plain"
              onClick={() => {
                close();
                run();
              }}
            >
              {text}
            </button>
          );
          return (
            <div className={styles.menu}>
              {column.area === "METRIC" && (
                <div role="radiogroup" aria-label="Which value" className={styles.stats}>
                  {STATS.map((one) => (
                    <button key={one} type="button" role="radio" aria-checked={one === column.stat} aria-pressed={one === column.stat} onClick={() => actions.onStat(one)}>
                      {one.toLowerCase()}
                    </button>
                  ))}
                </div>
              )}
              {item(isPinned ? "Unpin" : "Pin to the left", actions.onPin)}
              {item("Move left", () => actions.onMove(-1))}
              {item("Move right", () => actions.onMove(1))}
              {item("Wider", () => actions.onWidth(width + STEP_PX))}
              {item("Narrower", () => actions.onWidth(width - STEP_PX))}
              {column.area !== "METRIC" && item("Group by it", actions.onGroup)}
              {item("Hide", actions.onHide)}
            </div>
          );
        }}
      </Popover>
      <ResizeHandle width={width} onWidth={actions.onWidth} />
    </div>
  );
}

export function ResizeHandle({ width, onWidth }: { width: number; onWidth: (width: number) => void }) {
  const begin = useRef<{ x: number; width: number } | null>(null);

  function grab(event: PointerEvent<HTMLSpanElement>): void {
    event.preventDefault();
    event.currentTarget.setPointerCapture(event.pointerId);
    begin.current = { x: event.clientX, width };
  }

  return (
    <span
      className={styles.handle}
      aria-hidden="true"
      onPointerDown={grab}
      onPointerMove={(event) => begin.current && onWidth(begin.current.width + event.clientX - begin.current.x)}
      onPointerUp={() => {
        begin.current = null;
      }}
    />
  );
}
