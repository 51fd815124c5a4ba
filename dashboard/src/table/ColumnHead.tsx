import { type PointerEvent, useRef } from "react";
import { isSame, type ShownColumn, type Sort, type Stat } from "../state/url";
import { Middle } from "../ui/Middle";
import { Popover } from "../ui/Popover";
import { keyOf, label, statOf, widthOf } from "./columns";
import styles from "./ColumnHead.module.css";
import type { ColumnChanges } from "./useColumnChanges";

const STATS: readonly Stat[] = ["LAST", "MIN", "MAX", "FIRST", "BEST", "COUNT"];
const STEP_PX = 40;

interface Props {
  column: ShownColumn;
  isPinned: boolean;
  sort: readonly Sort[];
  changes: ColumnChanges;
}

const DRAGGED = "text/plain";

/** The head of a column: sorts when it is pressed, moves when it is dragged, and has a menu for everything else. */
export function ColumnHead({ column, isPinned, sort, changes }: Props) {
  const stat = statOf(column);
  const width = widthOf(column);
  const place = sort.findIndex((one) => isSame(one, column));
  const sorted = sort[place] ?? null;
  return (
    <div
      className={styles.head}
      draggable
      onDragStart={(event) => event.dataTransfer.setData(DRAGGED, keyOf(column))}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => changes.drop(event.dataTransfer.getData(DRAGGED), column)}
    >
      <button type="button" tabIndex={-1} className={styles.sort} title={`Sort by ${column.key}; with Shift after the others`} onClick={(event) => changes.sort(column, event.shiftKey)}>
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
                    <button key={one} type="button" role="radio" aria-checked={one === column.stat} aria-pressed={one === column.stat} onClick={() => changes.choose(column, one)}>
                      {one.toLowerCase()}
                    </button>
                  ))}
                </div>
              )}
              {item(isPinned ? "Unpin" : "Pin to the left", () => changes.pin(column))}
              {item("Move left", () => changes.move(column, -1))}
              {item("Move right", () => changes.move(column, 1))}
              {item("Wider", () => changes.resize(column, width + STEP_PX))}
              {item("Narrower", () => changes.resize(column, width - STEP_PX))}
              {column.area !== "METRIC" && item("Group by it", () => changes.group(column))}
              {item("Hide", () => changes.toggle(column))}
            </div>
          );
        }}
      </Popover>
      <ResizeHandle width={width} onWidth={(to) => changes.resize(column, to)} />
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
