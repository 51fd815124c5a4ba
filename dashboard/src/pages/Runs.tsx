import { useEffect, useMemo, useState } from "react";
import { useClient, useQuery } from "urql";
import { useLocation } from "wouter";
import { said } from "../api/client";
import { ExperimentDocument, RunGroupsDocument, RunsTableDocument } from "../api/gql";
import type { Operation } from "../copy/texts";
import { baseOf, selectionOf } from "../state/scope";
import type { ShownColumn } from "../state/url";
import { useView } from "../state/view";
import { NAME, roomForMean } from "../table/columns";
import { Foot } from "../table/Foot";
import { differs, freshIds, PAGE_ROWS, runningIds, variablesOf } from "../table/frame";
import { type Cell, Grid } from "../table/Grid";
import { Tools } from "../table/Tools";
import { useColumnChanges } from "../table/useColumnChanges";
import { useColumns } from "../table/useColumns";
import { useContent } from "../table/useContent";
import { useGridColumns } from "../table/useGridColumns";
import { groupVariables } from "../table/useGroups";
import { useKeys } from "../table/useKeys";
import { useLiveRuns } from "../table/useLiveRuns";
import { useRows } from "../table/useRows";
import { useSelectedRows } from "../table/useSelectedRows";
import { useShortcuts } from "../ui/Keys";
import { Problem } from "../ui/Problem";
import { FirstRun } from "./FirstRun";
import { RunsHeader } from "./RunsHeader";
import styles from "./Runs.module.css";

const LOADING_S = 60; // between what the first rows say and the first change that is told of, at most

interface Props {
  /** null shows the runs of every experiment. */
  experiment: string | null;
}

/** The runs of an experiment as a table: found, sorted, grouped, selected. */
export default function Runs({ experiment }: Props) {
  const client = useClient();
  const [, navigate] = useLocation();
  const [view, update] = useView();
  const isGrouped = view.group.length > 0;

  const base = useMemo(() => baseOf(experiment), [experiment]);
  const select = useMemo(() => selectionOf(experiment, view.q), [experiment, view.q]);
  const [{ data: found }] = useQuery({ query: ExperimentDocument, variables: { id: experiment ?? "" }, pause: experiment === null });
  const { columns, error: columnsError } = useColumns(base, view.cols);
  const rows = useRows(select, columns, view);
  const { frame, runs } = rows;
  const isLoaded = frame !== null && !runs.isLoading;
  const keys = useKeys(select, isGrouped || isLoaded); // behind the rows, which it would hold up

  const varying = useMemo(() => (frame && columns ? columns.filter((column) => differs(frame, column)) : (columns ?? [])), [frame, columns]);
  const hasOpenGroups = rows.open.size > 0;
  const shown = useMemo((): readonly ShownColumn[] => {
    const all = columns ?? [];
    if (isGrouped) {
      return all.filter(({ area }) => area === "METRIC" || hasOpenGroups).map(roomForMean);
    }
    return view.diff && varying.length < all.length ? varying : all;
  }, [isGrouped, columns, hasOpenGroups, view.diff, varying]);

  const changes = useColumnChanges(columns, view, update);
  const selected = useSelectedRows(rows.rows, view.sel, update);
  const heads = useGridColumns(shown, columns, frame, view, update, changes);
  const contentOf = useContent(rows, shown, view.group, selected);

  const running = useMemo(() => (frame ? runningIds(frame) : []), [frame]);
  const metrics = useMemo(() => [...new Set((columns ?? []).filter(({ area }) => area === "METRIC").map(({ key }) => key))], [columns]);
  useLiveRuns(
    base,
    running,
    metrics,
    async (ids) => (rows.groups ? rows.groups.reload() : runs.refresh(ids)),
    () => setBegun(Date.now()),
  );
  // What began or ended while the rows were read, and before changes were told of.
  const [begun, setBegun] = useState<number | null>(null);
  useEffect(() => {
    if (begun !== null && isLoaded) {
      setBegun(null);
      const seconds = LOADING_S + Math.ceil((Date.now() - begun) / 1000);
      void freshIds(client, select, seconds).then((ids) => runs.refresh([...new Set([...ids, ...running])].slice(0, PAGE_ROWS)));
    }
  }, [begun, isLoaded]);

  const clear = () => update({ sel: [] });
  useShortcuts([
    { keys: "x", does: "clear the selection", run: clear },
    { keys: "D", does: "only differences", run: () => update({ diff: !view.diff }) },
    ...GRID_KEYS,
  ]);

  function open(at: number): void {
    const { kind, id } = rows.rows[at]!;
    if (kind === "run") {
      navigate(`/r/${id}`);
    } else {
      rows.fold(id);
    }
  }

  function pressed(key: string, { column: at }: Cell): boolean {
    const column = shown[at - 1] ?? NAME;
    if (key === "s") {
      changes.sort(column, false);
    } else if (key === "p" && at > 0) {
      changes.pin(column);
    } else {
      return false;
    }
    return true;
  }

  if (experiment !== null && found?.experiment === null) {
    return <Problem title="There is no such experiment" advice="It does not exist, or you may not see it. The address may be of another server." />;
  }
  const isEmpty = frame?.ids.length === 0 && !runs.isLoading && !isGrouped;
  if (isEmpty && view.q === "") {
    return <FirstRun experiment={found?.experiment?.name ?? null} />;
  }

  const error = rows.error ?? columnsError;
  const operation: Operation = isGrouped
    ? { document: RunGroupsDocument, variables: groupVariables(select, view.group, columns ?? []) }
    : { document: RunsTableDocument, variables: variablesOf({ select, columns: columns ?? [], sort: view.sort }, PAGE_ROWS) };
  return (
    <section className={styles.page}>
      <RunsHeader experiment={experiment} tab="" operation={operation} />
      <Tools
        view={view}
        update={update}
        all={found?.experiment?.runCount ?? null}
        rows={rows}
        keys={keys}
        columns={columns}
        varying={varying}
        shown={shown}
        changes={changes}
      />
      <div className={styles.table} aria-busy={runs.isLoading}>
        {error ? (
          <Problem title="The runs cannot be shown" advice={said(error)} onRetry={runs.reload} />
        ) : isEmpty ? (
          <NoMatch where={view.q} onClear={() => update({ q: "" })} />
        ) : (
          <Grid
            label={isGrouped ? "Groups of runs" : "Runs"}
            columns={heads.columns}
            pinned={heads.pinned}
            rowCount={rows.rows.length}
            isSelected={selected.isSelected}
            contentOf={contentOf}
            onOpen={open}
            onSelect={selected.toggle}
            onExtend={selected.extend}
            onKey={pressed}
          />
        )}
      </div>
      <Foot experiment={experiment} view={view} rows={rows} running={running.length} onClear={clear} />
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
