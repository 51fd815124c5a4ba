import { Link } from "wouter";
import { pathOf } from "../state/scope";
import { SELECTED_MAX, type View } from "../state/url";
import { addressOf } from "../state/view";
import styles from "./Foot.module.css";
import { count } from "./format";
import { ROWS_MAX } from "./frame";
import type { Rows } from "./useRows";

interface Props {
  experiment: string | null;
  view: View;
  rows: Rows;
  /** How many of the runs in the table are running. */
  running: number;
  onClear: () => void;
}

/** What is below the table: the selection and where it leads, and how many rows there are. */
export function Foot({ experiment, view, rows, running, onClear }: Props) {
  const { fresh, reload } = rows.runs;
  return (
    <footer className={styles.foot}>
      {view.sel.length > 0 ? (
        <>
          <strong>{`${view.sel.length} selected`}</strong>
          <Link className="button" href={addressOf(pathOf(experiment, "charts"), view)}>
            Charts
          </Link>
          <Link className="button" href={addressOf(pathOf(experiment, "diff"), view)}>
            Diff
          </Link>
          <button type="button" className="plain" onClick={onClear}>
            Clear
          </button>
          {view.sel.length === SELECTED_MAX && <span className="muted">No more than {SELECTED_MAX} can be selected; charts without a selection show all that the filter leaves.</span>}
        </>
      ) : (
        <span className={styles.hint}>Space selects, Shift extends, Enter opens</span>
      )}
      <span role="status" className={styles.status}>
        {fresh > 0 && (
          <button type="button" className="plain" onClick={reload}>
            {`${fresh} new on top · sort again`}
          </button>
        )}
        {running > 0 && <span className={styles.live}>{`● ${running} running`}</span>}
        {shownStatus(rows)}
      </span>
    </footer>
  );
}

function shownStatus({ groups, frame, total }: Rows): string {
  if (groups?.groups) {
    return `${count(groups.groups.length)} of ${count(groups.total)} groups`;
  }
  if (frame === null || total === null) {
    return "Looking for runs …";
  }
  const rows = frame.ids.length;
  return rows < total && rows >= ROWS_MAX ? `the first ${count(rows)} of ${count(total)}; a filter finds the others` : `${count(rows)} of ${count(total)}`;
}
