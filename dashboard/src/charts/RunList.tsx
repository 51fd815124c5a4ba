import { memo, useContext, useRef } from "react";
import { Link } from "wouter";
import { indexesOf, rowsIn } from "../ui/sight";
import { useSight } from "../ui/useSight";
import styles from "./runs.module.css";
import { HoverContext, useHoveredId } from "./hover";
import { counted, wholeNumber } from "./numbers";
import type { Palette } from "./palette";
import { Swatch } from "./Swatch";

const ROW = 26; // CSS pixels
const NO_COLUMNS = { from: 0, to: 0 };

/** A run or a group in the list beside the charts. */
export interface Entry {
  id: string;
  name: string;
  slot: number | null;
  isRunning: boolean;
  /** Of a group. */
  runCount: number | null;
}

interface Props {
  entries: readonly Entry[];
  /** How many there are, also where fewer are listed. */
  totalCount: number;
  noun: string;
  palette: Palette;
  selected: readonly string[];
  /** null where nothing can be selected. */
  onToggle: ((id: string) => void) | null;
  /** What has to be said of them, if anything. */
  notice: string | null;
  onClear: () => void;
}

/** What the lines of all charts are: hovering one lets it stand out everywhere, checking one gives it a colour. */
export const RunList = memo(function RunList({ entries, totalCount, noun, palette, selected, onToggle, onClear, notice }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const hover = useContext(HoverContext);
  const hovered = useHoveredId();
  const { rows } = useSight(scroller, (view) => ({ rows: rowsIn(view, { count: entries.length, height: ROW, headHeight: 0 }), columns: NO_COLUMNS }));
  const chosen = new Set(selected);
  return (
    <aside className={styles["list"]} aria-label={noun === "run" ? "Runs" : "Groups"}>
      <header>
        <strong>{counted(totalCount, noun)}</strong>
        {notice && (
          <span className={styles["cap"]} title={notice}>
            {notice}
          </span>
        )}
        {selected.length > 0 && (
          <button type="button" className="plain" onClick={onClear}>
            Clear {wholeNumber(selected.length)}
          </button>
        )}
      </header>
      <div ref={scroller} className={styles["rows"]} tabIndex={0} role="group" aria-label={`${noun}s of the charts`}>
        <ul style={{ height: entries.length * ROW }} onPointerLeave={hover.clear}>
          {indexesOf(rows).map((index) => {
            const { id, name, slot, isRunning, runCount } = entries[index]!;
            return (
              <li
                key={id}
                style={{ transform: `translateY(${index * ROW}px)` }}
                data-hovered={id === hovered || undefined}
                onPointerEnter={() => hover.set({ id, x: null, chart: null })}
              >
                {onToggle && <input type="checkbox" checked={chosen.has(id)} aria-label={`Select ${name}`} onChange={() => onToggle(id)} />}
                <Swatch slot={slot} palette={palette} />
                {runCount === null ? <Link href={`/r/${id}`} title={name}>{name}</Link> : <span title={name}>{name}</span>}
                {isRunning && <span className={styles["running"]} title="running" role="img" aria-label="running" />}
                {runCount !== null && <span className="muted">n={runCount}</span>}
              </li>
            );
          })}
        </ul>
      </div>
    </aside>
  );
});
