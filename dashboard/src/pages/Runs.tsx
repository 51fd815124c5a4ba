import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useClient, useQuery } from "urql";
import { Link, useLocation } from "wouter";
import { said } from "../api/client";
import { ExperimentDocument, RunGroupsDocument, RunsTableDocument } from "../api/gql";
import { paletteOf } from "../charts/palette";
import type { Operation } from "../copy/texts";
import { baseOf, pathOf, selectionOf } from "../state/scope";
import { extended, slots, without } from "../state/selection";
import { useTheme } from "../state/theme";
import { type Column, isSame, SELECTED_MAX, type ShownColumn } from "../state/url";
import { addressOf, useView } from "../state/view";
import { ColumnHead, ResizeHandle } from "../table/ColumnHead";
import { FilterBox } from "../table/FilterBox";
import { type Content, Grid, type GridColumn } from "../table/Grid";
import { KeyPicker } from "../table/KeyPicker";
import { keyOf, NAME, NAME_PX, sortedBy, widthOf, withMoved, withPinToggled, withStat, withToggled, withWidth } from "../table/columns";
import { count } from "../table/format";
import { differs, isNumeric, ROWS_MAX, recentIds, variablesOf } from "../table/frame";
import { groupRows, idsOf, NameCell, ofGroup, ofRun, type Row, runRows } from "../table/rows";
import { useColumns } from "../table/useColumns";
import { useFrame } from "../table/useFrame";
import { groupVariables, useGroups } from "../table/useGroups";
import { useKeys } from "../table/useKeys";
import { useLiveRuns } from "../table/useLiveRuns";
import { useShortcuts } from "../ui/Keys";
import { Popover } from "../ui/Popover";
import { Problem } from "../ui/Problem";
import { FirstRun } from "./FirstRun";
import { RunsHeader } from "./RunsHeader";
import styles from "./Runs.module.css";

const MEMBERS_MAX = 1000;
const MEAN_PX = 136;

interface Props {
  /** null shows the runs of every experiment. */
  experiment: string | null;
}

/** The runs of an experiment as a table: found, sorted, grouped, selected. */
export default function Runs({ experiment }: Props) {
  const client = useClient();
  const [, navigate] = useLocation();
  const [view, update] = useView();
  const palette = paletteOf(useTheme());

  const base = useMemo(() => baseOf(experiment), [experiment]);
  const select = useMemo(() => selectionOf(experiment, view.q), [experiment, view.q]);
  const isGrouped = view.group.length > 0;

  const [{ data: found }] = useQuery({ query: ExperimentDocument, variables: { id: experiment ?? "" }, pause: experiment === null });
  const { columns, error: columnsError } = useColumns(base, view.cols);

  const wanted = useMemo(() => (columns === null ? null : { select, columns, sort: view.sort }), [select, columns, view.sort]);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const groups = useGroups(select, view.group, columns, view.sort);
  const memberIds = useMemo(
    () => groupRows(groups.groups ?? [], open, null).flatMap((row) => (row.kind === "group" && row.isOpen ? idsOf(row) : [])).slice(0, MEMBERS_MAX),
    [groups.groups, open],
  );
  const members = useMemo(() => wanted && { ...wanted, select: { ...wanted.select, runIds: memberIds } }, [wanted, memberIds]);
  const runs = useFrame(isGrouped ? (memberIds.length > 0 ? members : null) : wanted);
  const { frame } = runs;
  const error = groups.error ?? runs.error ?? columnsError;

  // --- What is shown ---

  const varying = useMemo(() => (frame && columns ? columns.filter((column) => differs(frame, column)) : (columns ?? [])), [frame, columns]);
  const shown = useMemo(() => {
    if (isGrouped) {
      return (columns ?? []).filter((column) => column.area === "METRIC" || open.size > 0).map(roomForMean);
    }
    return view.diff && varying.length < (columns ?? []).length ? varying : (columns ?? []);
  }, [isGrouped, columns, open.size, view.diff, varying]);
  const rows = useMemo<readonly Row[]>(
    () => (isGrouped ? groupRows(groups.groups ?? [], open, frame) : runRows(frame)),
    [isGrouped, groups.groups, open, frame],
  );
  const places = useMemo(() => slots(view.sel), [view.sel]);
  const now = useNow();

  // --- Changes ---

  const change = (columnsNow: readonly ShownColumn[], pin: number) => update({ cols: columnsNow, pin });
  const toggleColumn = (column: Column) => columns && update(withToggled(columns, view.pin, column));
  const pinColumn = (column: Column) => columns && update(withPinToggled(columns, view.pin, column));
  const sort = (column: Column, keepOthers: boolean) => update(({ sort }) => ({ sort: sortedBy(sort, column, keepOthers) }));
  const setDiff = (diff: boolean) => update({ diff });
  const toggleGroup = (column: Column) =>
    update(({ group }) => ({ group: group.some((one) => isSame(one, column)) ? group.filter((one) => !isSame(one, column)) : [...group, column] }));

  const anchor = useRef(0);
  const isRowSelected = (row: number) => rows[row] !== undefined && idsOf(rows[row]).every((id) => places.has(id));
  function selectRow(row: number): void {
    anchor.current = row;
    const ids = idsOf(rows[row]!);
    update(({ sel }) => ({ sel: ids.every((id) => sel.includes(id)) ? without(sel, ids) : extended(sel, ids) }), { replace: true });
  }
  function extendTo(from: number, to: number): void {
    const between = rows.slice(Math.min(from, to), Math.max(from, to) + 1).flatMap(idsOf);
    update(({ sel }) => ({ sel: extended(sel, between) }), { replace: true });
  }
  const clear = () => update({ sel: [] });
  function fold(id: string): void {
    setOpen((before) => {
      const after = new Set(before);
      if (!after.delete(id)) {
        after.add(id);
      }
      return after;
    });
  }
  function openRow(row: number): void {
    const { kind, id } = rows[row]!;
    if (kind === "run") {
      navigate(`/r/${id}`);
    } else {
      fold(id);
    }
  }

  useShortcuts([
    { keys: "x", does: "clear the selection", run: clear },
    { keys: "D", does: "only differences", run: () => setDiff(!view.diff) },
    ...GRID_KEYS,
  ]);

  // --- Live ---

  const running = useMemo(() => {
    const status = frame?.cells.get("attr:status") ?? [];
    return (frame?.ids ?? []).filter((_, at) => status[at] === "RUNNING");
  }, [frame]);
  const metrics = useMemo(() => [...new Set((columns ?? []).filter(({ area }) => area === "METRIC").map(({ key }) => key))], [columns]);
  useLiveRuns(
    base,
    running,
    metrics,
    async (ids) => (isGrouped ? groups.reload() : runs.refresh(ids)),
    () => void recentIds(client, select).then(runs.refresh),
  );

  // --- The grid ---

  const gridColumns = useMemo(
    () => [nameColumn(), ...shown.map(columnOf)],
    // What the heads do is read when they are pressed; only what they show matters here.
    [columns, shown, frame, view.sort, view.pin, view.diff, view.rest],
  );

  function nameColumn(): GridColumn {
    const sorted = view.sort.find((one) => isSame(one, NAME)) ?? null;
    const width = nameWidth(view.rest);
    return {
      key: "name",
      width,
      isNumeric: false,
      sorted: ariaSort(sorted),
      header: (
        <div className={styles.nameHead}>
          <button type="button" tabIndex={-1} className="plain" onClick={(event) => sort(NAME, event.shiftKey)}>
            {isGrouped ? "Group" : "Name"} {sorted && <span aria-hidden="true">{sorted.descending ? "▼" : "▲"}</span>}
          </button>
          <ResizeHandle width={width} onWidth={(to) => update(({ rest }) => ({ rest: withNameWidth(rest, to) }), { replace: true })} />
        </div>
      ),
    };
  }

  function columnOf(column: ShownColumn): GridColumn {
    const all = columns ?? [];
    const at = all.findIndex((one) => isSame(one, column));
    const sorted = view.sort.find((one) => isSame(one, column)) ?? null;
    const moveTo = (target: number) => target >= 0 && target < all.length && update(withMoved(all, view.pin, column, target));
    const width = widthOf(column);
    return {
      key: keyOf(column),
      width,
      isNumeric: column.area === "METRIC" || (frame !== null && isNumeric(frame, column)),
      sorted: ariaSort(sorted),
      header: (
        <ColumnHead
          column={column}
          columnKey={keyOf(column)}
          width={width}
          isPinned={at < view.pin}
          sort={view.sort}
          sorted={sorted}
          onSort={(keepOthers) => sort(column, keepOthers)}
          onPin={() => pinColumn(column)}
          onHide={() => toggleColumn(column)}
          onMove={(by) => moveTo(at + by)}
          onDrop={(key) => {
            const dropped = all.find((one) => keyOf(one) === key);
            if (dropped) {
              update(withMoved(all, view.pin, dropped, at));
            }
          }}
          onWidth={(to) => update({ cols: withWidth(all, column, to) }, { replace: true })}
          onStat={(stat) => change(withStat(all, column, stat), view.pin)}
          onGroup={() => toggleGroup(column)}
        />
      ),
    };
  }

  const cells = useMemo(() => shown.map((column) => frame?.cells.get(keyOf(column))), [shown, frame]);
  const contentOf = useCallback(
    (at: number, columnAt: number): Content => {
      const row = rows[at]!;
      const column = shown[columnAt - 1];
      if (column !== undefined) {
        return row.kind === "run" ? ofRun(cells[columnAt - 1], row, column, now) : ofGroup(row, column, view.group);
      }
      const name = (
        <NameCell
          frame={frame}
          row={row}
          by={view.group}
          slot={row.kind === "run" ? (places.get(row.id) ?? null) : null}
          isSelected={isRowSelected(at)}
          palette={palette}
          onToggle={(extend) => (extend ? extendTo(anchor.current, at) : selectRow(at))}
          onFold={() => fold(row.id)}
        />
      );
      return { shown: name };
    },
    [rows, shown, cells, frame, places, palette, view.group, now],
  );

  function gridKey(key: string, { column }: { column: number }): boolean {
    const at = shown[column - 1] ?? NAME;
    if (key === "s") {
      sort(at, false);
    } else if (key === "p" && column > 0) {
      pinColumn(at);
    } else {
      return false;
    }
    return true;
  }

  // --- The page ---

  const keysWanted = frame !== null || isGrouped;
  const keys = useKeys(select, keysWanted);
  const total = isGrouped ? groups.runCount : (frame?.total ?? 0);
  const all = found?.experiment?.runCount;
  const operation: Operation = isGrouped
    ? { document: RunGroupsDocument, variables: groupVariables(select, view.group, columns ?? []) }
    : { document: RunsTableDocument, variables: variablesOf(wanted ?? { select, columns: [], sort: [] }) };

  if (experiment !== null && found?.experiment === null) {
    return <Problem title="There is no such experiment" advice="It does not exist, or you may not see it. The address may be of another server." />;
  }
  if (view.q === "" && frame?.ids.length === 0 && !runs.isLoading && !isGrouped) {
    return <FirstRun experiment={found?.experiment?.name ?? null} />;
  }
  return (
    <section className={styles.page}>
      <RunsHeader experiment={experiment} tab="" operation={operation} />
      <div className={styles.tools}>
        <FilterBox value={view.q} onChange={(q) => update({ q }, { replace: view.q !== "" })} status={filterStatus(total, all ?? null, view.q !== "")} />
        <div className={styles.bar}>
          <Popover label={`Columns (${shown.length}${keys.total > 0 ? ` of ${keys.total}` : ""})`}>
            {() => (
              <>
                <KeyPicker keys={keys.keys} chosen={columns ?? []} onToggle={toggleColumn} withMetrics />
                <button type="button" onClick={() => update({ cols: null, pin: 0 })}>
                  The usual columns
                </button>
              </>
            )}
          </Popover>
          <label className={styles.check} title={`Over all ${count(total)} runs that the filter selects`}>
            <input type="checkbox" checked={view.diff} disabled={isGrouped} onChange={(event) => setDiff(event.target.checked)} />
            Only differences
            {frame && columns && !isGrouped && <span className="muted">{`${varying.length} of ${columns.length}`}</span>}
          </label>
          <Popover label={isGrouped ? `Group: ${view.group.map(({ key }) => key).join(", ")}` : "Group"}>
            {() => <KeyPicker keys={keys.keys} chosen={view.group} onToggle={toggleGroup} withMetrics={false} />}
          </Popover>
          {isGrouped && (
            <>
              <button type="button" className="plain" onClick={() => setOpen(open.size > 0 ? new Set() : new Set(rows.map(({ id }) => id)))}>
                {open.size > 0 ? "Hide members" : "Members"}
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
      <div className={styles.table} aria-busy={runs.isLoading}>
        {error ? (
          <Problem title="The runs cannot be shown" advice={said(error)} onRetry={runs.reload} />
        ) : rows.length === 0 && !runs.isLoading && frame !== null && !isGrouped ? (
          <NoMatch where={view.q} onClear={() => update({ q: "" })} />
        ) : rows.length === 0 ? (
          <p className={styles.waiting}>Looking for runs …</p>
        ) : (
          <Grid
            label={isGrouped ? "Groups of runs" : "Runs"}
            columns={gridColumns}
            pinned={1 + shown.filter((column) => (columns ?? []).slice(0, view.pin).some((one) => isSame(one, column))).length}
            rowCount={rows.length}
            isSelected={isRowSelected}
            contentOf={contentOf}
            onOpen={openRow}
            onSelect={selectRow}
            onExtend={extendTo}
            onKey={gridKey}
          />
        )}
      </div>
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
            <button type="button" className="plain" onClick={clear}>
              Clear
            </button>
            {view.sel.length === SELECTED_MAX && <span className="muted">No more than {SELECTED_MAX} can be selected; charts without a selection show all that the filter leaves.</span>}
          </>
        ) : (
          <span className={styles.hint}>Space selects, Shift extends, Enter opens</span>
        )}
        <span role="status" className={styles.status}>
          {runs.fresh > 0 && (
            <button type="button" className="plain" onClick={runs.reload}>
              {`${runs.fresh} new on top · sort again`}
            </button>
          )}
          {running.length > 0 && <span className={styles.live}>{`● ${running.length} running`}</span>}
          {isGrouped ? `${count(groups.groups?.length ?? 0)} of ${count(groups.total)} groups` : shownStatus(frame?.ids.length ?? 0, total)}
        </span>
      </footer>
    </section>
  );
}

const GRID_KEYS = [
  { keys: "j", does: "down, as ↓", run: null },
  { keys: "k", does: "up, as ↑", run: null },
  { keys: " ", does: "select the row", run: null },
  { keys: "Enter", does: "open the run", run: null },
  { keys: "s", does: "sort by the column", run: null },
  { keys: "p", does: "pin the column", run: null },
];

/** A mean and its deviation need more room than a value. */
const roomForMean = (column: ShownColumn): ShownColumn => (column.area === "METRIC" ? { ...column, width: Math.max(MEAN_PX, widthOf(column)) } : column);

const ariaSort = (sorted: { descending: boolean } | null) => (sorted === null ? null : sorted.descending ? "descending" : "ascending");

/** The time, once a minute, for what says "3 min ago". */
function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 60_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

const NAME_WIDTH = "nw";
type Rest = readonly (readonly [string, string])[];

function nameWidth(rest: Rest): number {
  const given = Number(rest.find(([name]) => name === NAME_WIDTH)?.[1]);
  return given >= 80 && given <= 1200 ? given : innerWidth < 600 ? 190 : NAME_PX;
}

const withNameWidth = (rest: Rest, width: number): Rest => [...rest.filter(([name]) => name !== NAME_WIDTH), [NAME_WIDTH, String(Math.round(width))]];

function filterStatus(total: number, all: number | null, isFiltered: boolean): string {
  return isFiltered ? `${count(total)}${all === null ? "" : ` of ${count(all)}`} runs` : `${count(total)} runs`;
}

function shownStatus(rows: number, total: number): string {
  return rows < total && rows >= ROWS_MAX ? `the first ${count(rows)} of ${count(total)}; a filter finds the others` : `${count(rows)} of ${count(total)}`;
}

function NoMatch({ where, onClear }: { where: string; onClear: () => void }) {
  return (
    <div className={styles.waiting}>
      <p>
        No run satisfies <code>{where}</code>.
      </p>
      <button type="button" onClick={onClear}>
        Show all runs
      </button>
    </div>
  );
}
