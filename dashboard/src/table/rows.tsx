/* What the rows of the table are, runs or groups with their members, and what stands in their cells. */
import type { MouseEvent, ReactNode } from "react";
import type { RunStatus } from "../api/gql";
import { Swatch } from "../charts/Swatch";
import type { Palette } from "../charts/palette";
import type { Column } from "../state/url";
import { StatusBadge } from "../ui/Badge";
import { Middle } from "../ui/Middle";
import { keyOf, NAME } from "./columns";
import { brief, count, exact } from "./format";
import type { Frame } from "./frame";
import type { Content } from "./Grid";
import { type Group, meanOf, nameOf, valueOf } from "./groups";
import styles from "./rows.module.css";

export interface RunRow {
  kind: "run";
  id: string;
  /** Its place in the frame. */
  at: number;
  isMember: boolean;
}

export interface GroupRow {
  kind: "group";
  id: string;
  group: Group;
  isOpen: boolean;
}

export type Row = RunRow | GroupRow;

export const runRows = (frame: Frame | null): Row[] => (frame?.ids ?? []).map((id, at) => ({ kind: "run", id, at, isMember: false }));

/** Each group, and behind one that is open those of its runs that are there. */
export function groupRows(groups: readonly Group[], open: ReadonlySet<string>, members: Frame | null): Row[] {
  const places = new Map((members?.ids ?? []).map((id, at) => [id, at]));
  return groups.flatMap((group): Row[] => {
    const id = JSON.stringify([...group.values.values()]);
    const isOpen = open.has(id);
    const runs = isOpen ? group.runIds.filter((run) => places.has(run)) : [];
    return [{ kind: "group", id, group, isOpen }, ...runs.map((run): Row => ({ kind: "run", id: run, at: places.get(run)!, isMember: true }))];
  });
}

export const idsOf = (row: Row): readonly string[] => (row.kind === "run" ? [row.id] : row.group.runIds);

/** What a run has in a column, of which these are the cells. */
export function ofRun(cells: readonly unknown[] | undefined, { at }: RunRow, column: Column, now: number): Content {
  const value = cells?.[at];
  if (column.area === "ATTRIBUTE" && column.key === "status" && typeof value === "string") {
    return { shown: <StatusBadge status={value as RunStatus} /> };
  }
  return { shown: brief(column, value, now), title: exact(value), isMuted: value === null || value === undefined };
}

/** What the runs of a group have in a column. */
export function ofGroup({ group }: GroupRow, column: Column, by: readonly Column[]): Content {
  const summary = group.summaries.get(keyOf(column));
  if (summary) {
    return { shown: meanOf(summary), title: `${exact(summary.mean)}, from ${exact(summary.min)} to ${exact(summary.max)}, of ${summary.count} runs` };
  }
  return { shown: by.some((one) => keyOf(one) === keyOf(column)) ? valueOf(group, column) : null };
}

interface NameProps {
  frame: Frame | null;
  row: Row;
  by: readonly Column[];
  /** The place of the run in the selection; null when it is not selected. */
  slot: number | null;
  isSelected: boolean;
  palette: Palette;
  onToggle: (extend: boolean) => void;
  onOpen: () => void;
  onFold: () => void;
}

/** Whether it asks for what the browser does with a link: another tab, another window, a file. */
const isForBrowser = ({ ctrlKey, metaKey, altKey, shiftKey, button }: MouseEvent): boolean => ctrlKey || metaKey || altKey || shiftKey || button !== 0;

/** The first cell of a row: whether it is selected, in which colour, and what it is called. */
export function NameCell({ frame, row, by, slot, isSelected, palette, onToggle, onOpen, onFold }: NameProps): ReactNode {
  function pressed(event: MouseEvent): void {
    if (!isForBrowser(event)) {
      event.preventDefault();
      onOpen();
    }
  }

  const name = row.kind === "run" ? exact(frame?.cells.get(keyOf(NAME))?.[row.at]) : nameOf(row.group, by);
  return (
    <div className={styles.first}>
      <input
        type="checkbox"
        tabIndex={-1}
        aria-label={`Select ${name}`}
        checked={isSelected}
        onClick={(event) => onToggle(event.shiftKey)}
        onChange={() => undefined} // which knows nothing of Shift
      />
      {row.kind === "run" ? (
        <>
          <span className={row.isMember ? styles.member : styles.swatch}>{slot !== null && <Swatch slot={slot} palette={palette} />}</span>
          {/* Not a `Link`, each of which watches the address. */}
          <a href={`/r/${row.id}`} tabIndex={-1} className={styles.name} onClick={pressed}>
            <Middle text={name} />
          </a>
        </>
      ) : (
        <button type="button" tabIndex={-1} className={styles.fold} aria-expanded={row.isOpen} onClick={onFold}>
          <span aria-hidden="true">{row.isOpen ? "▾" : "▸"}</span>
          <Middle text={name} />
          <span className="muted">n={count(row.group.runCount)}</span>
        </button>
      )}
    </div>
  );
}
