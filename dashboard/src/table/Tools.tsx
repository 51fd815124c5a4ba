import type { ShownColumn, View } from "../state/url";
import type { Update } from "../state/view";
import { Popover } from "../ui/Popover";
import { FilterBox } from "./FilterBox";
import { count } from "./format";
import { KeyPicker } from "./KeyPicker";
import styles from "./Tools.module.css";
import type { ColumnChanges } from "./useColumnChanges";
import type { Keys } from "./useKeys";
import type { Rows } from "./useRows";

interface Props {
  view: View;
  update: Update;
  /** How many runs there are without a filter; null while that is not known. */
  all: number | null;
  rows: Rows;
  keys: Keys;
  /** null while they are not known. */
  columns: readonly ShownColumn[] | null;
  /** Those in which runs differ. */
  varying: readonly ShownColumn[];
  shown: readonly ShownColumn[];
  changes: ColumnChanges;
}

/** What is above the table: which runs it has, and what it shows of them. */
export function Tools({ view, update, all, rows, keys, columns, varying, shown, changes }: Props) {
  const isGrouped = rows.groups !== null;
  return (
    <div className={styles.tools}>
      <FilterBox value={view.q} onChange={(q) => update({ q }, { replace: view.q !== "" })} status={filterStatus(rows.total, all, view.q !== "")} />
      <div className={styles.bar}>
        <Popover label={`Columns (${shown.length}${keys.total > 0 ? ` of ${count(keys.total)}` : ""})`}>
          {() => (
            <>
              <KeyPicker keys={keys.keys} chosen={columns ?? []} onToggle={changes.toggle} withMetrics />
              <button type="button" onClick={() => update({ cols: null, pin: 0 })}>
                The usual columns
              </button>
            </>
          )}
        </Popover>
        <label className={styles.check} title={`Over all ${count(rows.total ?? 0)} runs that the filter selects`}>
          <input type="checkbox" checked={view.diff} disabled={isGrouped} onChange={(event) => update({ diff: event.target.checked })} />
          Only differences
          {rows.frame && columns && !isGrouped && <span className="muted">{`${varying.length} of ${columns.length}`}</span>}
        </label>
        <Popover label={isGrouped ? `Group: ${view.group.map(({ key }) => key).join(", ")}` : "Group"}>
          {() => <KeyPicker keys={keys.keys} chosen={view.group} onToggle={changes.group} withMetrics={false} />}
        </Popover>
        {isGrouped && (
          <>
            <button type="button" className="plain" onClick={rows.foldAll}>
              {rows.open.size > 0 ? "Hide members" : "Members"}
            </button>
            <button type="button" className="plain" onClick={() => update({ group: [] })}>
              Ungroup
            </button>
          </>
        )}
        {view.sort.length > 0 && (
          <button type="button" className="plain" onClick={() => update({ sort: [] })}>
            Newest first
          </button>
        )}
      </div>
    </div>
  );
}

function filterStatus(total: number | null, all: number | null, isFiltered: boolean): string {
  if (total === null) {
    return "";
  }
  return isFiltered && all !== null ? `${count(total)} of ${count(all)} runs` : `${count(total)} runs`;
}
