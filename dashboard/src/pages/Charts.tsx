import { type RefObject, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useClient } from "urql";
import type { RunSelection } from "../api/gql";
import { Card } from "../charts/Card";
import { Controls } from "../charts/Controls";
import { isDensity } from "../charts/drawing";
import { isSavedWhole, loggedCsv, shownCsv } from "../charts/export";
import { drawingOf, type Frame, type Look } from "../charts/frames";
import { chosenKeys } from "../charts/globs";
import { Hover, HoverContext } from "../charts/hover";
import { counted, wholeNumber } from "../charts/numbers";
import { paletteOf, SLOTS } from "../charts/palette";
import { saveFile } from "../charts/picture";
import type { Zoom } from "../charts/plot";
import { extent, moved, zoomed } from "../charts/ranges";
import { type Entry, RunList } from "../charts/RunList";
import { plotViewOf } from "../charts/shown";
import { type FramesOf, operationOf, useFrames } from "../charts/useFrames";
import { FOLLOWED_MAX, useFreshPoints } from "../charts/useFreshPoints";
import { useMetricKeys } from "../charts/useMetricKeys";
import { usePace } from "../charts/usePace";
import { type ChartRun, type ChartRuns, useRuns } from "../charts/useRuns";
import { useVisible } from "../charts/useVisible";
import { axisInput } from "../charts/xaxis";
import { selectionOf } from "../state/scope";
import { slots, toggled } from "../state/selection";
import { useTheme } from "../state/theme";
import type { Range, View } from "../state/url";
import { type Update, useView } from "../state/view";
import { FilterBox } from "../table/FilterBox";
import { useShortcuts } from "../ui/Keys";
import { Problem } from "../ui/Problem";
import styles from "./Charts.module.css";
import { RunsHeader } from "./RunsHeader";

const BUCKETS_MAX = 500;
const DENSE_BUCKETS = 200; // enough for what is only a density
const BANDED_MAX = 50; // runs whose ranges are asked for
const SERIES_MAX = 1000;
/** A request is priced by how many runs it may read, so it says no more than there are; in steps, for more may come. */
const SERIES_STEPS = [20, 50, 100, 200, 500];

interface Props {
  /** null shows the selected runs of any experiment. */
  experiment: string | null;
}

/** The metrics of many runs as lines: one chart for each, all over the same axis and with the same hover. */
export default function Charts({ experiment }: Props) {
  return <ChartsOf key={experiment} experiment={experiment} />; // nothing of one experiment is shown for another
}

function ChartsOf({ experiment }: Props) {
  const [view, update] = useView();
  const client = useClient();
  const palette = paletteOf(useTheme());
  const [hover] = useState(() => new Hover());
  const page = useRef<HTMLDivElement>(null);
  const { visible, watch } = useVisible();

  // The selected runs are drawn, and where none is selected all that the filter leaves.
  const { q, sel } = view;
  const filtered = useMemo(() => selectionOf(experiment, q), [experiment, q]);
  const selected = useMemo(() => (sel.length > 0 ? { runIds: [...sel] } : null), [sel.join()]);
  const select = selected ?? filtered;
  const all = useRuns(filtered);
  const some = useRuns(selected);
  const drawn = selected ? some.found : all.found;

  const running = useMemo(() => drawn?.runs.filter(isRunning).map(({ id }) => id) ?? [], [drawn]);
  const known = useMetricKeys(select, drawn, running.length > 0);
  const metrics = useMemo(() => (known === null ? [] : view.m.length === 0 ? known.keys : chosenKeys(view.m, known.keys, known.areAll)), [known, view.m]);
  const shown = useMemo(() => metrics.filter((metric) => visible.has(metric)), [metrics, visible]);
  const asked = useFramesOf(select, view, drawn?.totalCount ?? null);
  const { frames, problem, reload } = useFrames(asked, shown);
  const refresh = usePace(reload);
  useFreshPoints(running, shown, refresh);
  useEffect(refresh, [drawn, refresh]);

  const noun = view.group.length > 0 ? "group" : "run";
  const groups = useMemo(() => groupsOf(frames), [frames]);
  const look = useLook(view, drawn?.runs ?? NO_RUNS, groups);
  const entries = useEntries(noun === "group" ? groups : null, all.found?.runs ?? NO_RUNS, some.found?.runs ?? NO_RUNS, look);

  const zoom = useCallback(
    (metric: string, { x, y }: Zoom) => update({ ...(x !== undefined && { xr: x }), ...(y !== undefined && { yr: y, ym: y && metric }) }),
    [update],
  );
  const pick = useCallback((id: string | null) => update(({ hl }) => ({ hl: id === hl ? null : id }), { replace: true }), [update]);
  const toggle = useCallback((id: string) => update((now) => ({ sel: toggled(now.sel, id) })), [update]);
  const clear = useCallback(() => update({ sel: [] }), [update]);
  useChartKeys(view, update, frames, page);
  useValueKeys(view, update, page, valuesOf);

  function valuesOf(metric: string): Range | null {
    const frame = frames.get(metric);
    return (frame && plotViewOf(metric, drawingOf(frame, look), view, palette)?.yRange) ?? null;
  }

  async function exportFrame(frame: Frame): Promise<void> {
    const isWhole = noun === "run" && isSavedWhole(frame);
    const text = isWhole
      ? await loggedCsv(client, { runIds: frame.series.map(({ id }) => id) }, frame.metric, look.nameOf)
      : shownCsv(frame, look.nameOf, view.x);
    saveFile(new Blob([text], { type: "text/csv" }), `${frame.metric}.csv`);
  }

  return (
    <HoverContext value={hover}>
      <div className={styles["page"]} ref={page}>
        <div className={styles["head"]}>
          <RunsHeader experiment={experiment} tab="charts" operation={operationOf(asked, shown)} />
          <div className={styles["filter"]}>
            <FilterBox value={q} onChange={(where) => update({ q: where }, { replace: q !== "" })} status={counted(all.found?.totalCount ?? 0, "run")} />
          </div>
          <Controls view={view} update={update} select={select} metrics={known?.keys ?? NO_KEYS} />
        </div>
        <div className={styles["list"]}>
          <RunList
            entries={entries}
            totalCount={noun === "run" ? (all.found?.totalCount ?? 0) : groups.size}
            noun={noun}
            palette={palette}
            selected={sel}
            onToggle={noun === "run" ? toggle : null}
            onClear={clear}
            notice={noun === "run" ? noticeOf(all.found, running.length) : null}
          />
        </div>
        <div className={styles["cards"]} data-scroller>
          <Advice problem={all.problem ?? some.problem ?? problem} drawn={drawn} known={known} metrics={metrics} />
          {known && !known.areAll && !known.isReading && <p className="muted">The first {wholeNumber(known.keys.length)} metrics; others are drawn when they are named.</p>}
          {metrics.map((metric) => (
            <div key={metric} data-key={metric} tabIndex={-1} ref={watch}>
              {visible.has(metric) && (
                <Card
                  metric={metric}
                  frame={frames.get(metric) ?? null}
                  view={view}
                  look={look}
                  palette={palette}
                  noun={noun}
                  onZoom={zoom}
                  onPick={noun === "run" ? pick : ignore}
                  onExport={(frame) => void exportFrame(frame)}
                  asked={asked}
                />
              )}
            </div>
          ))}
        </div>
      </div>
    </HoverContext>
  );
}

/** Always the same, for what is made of the runs. */
const NO_RUNS: readonly ChartRun[] = [];
const NO_KEYS: readonly string[] = [];
const isRunning = ({ status }: ChartRun): boolean => status === "RUNNING";
const ignore = (): void => undefined;

/** What the list does not show of the runs, and what to do about it; null when it shows all. */
function noticeOf(found: ChartRuns | null, runningCount: number): string | null {
  if (found && found.totalCount > found.runs.length) {
    return `the newest ${wholeNumber(found.runs.length)}; filter to see others`;
  }
  return runningCount > FOLLOWED_MAX ? `the newest ${wholeNumber(FOLLOWED_MAX)} are live` : null;
}

interface AdviceProps {
  problem: string | null;
  drawn: ChartRuns | null;
  known: ReturnType<typeof useMetricKeys>;
  metrics: readonly string[];
}

/** Why there is nothing to see, if there is nothing. */
function Advice({ problem, drawn, known, metrics }: AdviceProps) {
  if (problem) {
    return <Problem title="The charts cannot be drawn" advice={problem} />;
  }
  if (drawn === null || known === null || known.isReading || metrics.length > 0) {
    return null;
  }
  if (drawn.totalCount === 0) {
    return <p className="muted">No run satisfies the filter.</p>;
  }
  return <p className="muted">{known.keys.length > 0 ? "These runs have no metric of such a name." : "These runs have logged no metrics yet."}</p>;
}

/** What frames to ask for; null while it is not known how many runs there are. */
function useFramesOf(select: RunSelection, { x, xr, group, band, mode }: View, runCount: number | null): FramesOf | null {
  const maxSeries = runCount === null ? null : SERIES_STEPS.find((step) => runCount <= step) ?? SERIES_MAX;
  const isDense = runCount !== null && isDensity(mode, group.length > 0 ? 0 : runCount);
  const withRange = band === "minmax" && runCount !== null && runCount <= BANDED_MAX;
  return useMemo(
    () =>
      maxSeries === null
        ? null
        : {
            select,
            x: axisInput(x, xr),
            buckets: isDense ? DENSE_BUCKETS : BUCKETS_MAX,
            maxSeries,
            groupBy: group.length > 0 ? [...group] : null,
            withRange,
          },
    [select, x, xr, group, isDense, withRange, maxSeries],
  );
}

interface Group {
  name: string;
  runCount: number;
}

type Groups = ReadonlyMap<string, Group>;

const NO_GROUPS: Groups = new Map();

/** The groups that any chart shows, in the order of their values; always the same where there are none. */
function groupsOf(frames: ReadonlyMap<string, Frame>): Groups {
  const groups = new Map<string, Group>();
  for (const { series } of frames.values()) {
    for (const { id, groupName, runCount } of series) {
      if (groupName !== null) {
        groups.set(id, { name: groupName, runCount: Math.max(runCount, groups.get(id)?.runCount ?? 0) });
      }
    }
  }
  return groups.size > 0 ? groups : NO_GROUPS;
}

/** How lines look. Selected runs have the colours of their order; where none is selected all have, if colours suffice. */
function useLook({ smooth, band, mode, xlog, sel }: View, runs: readonly ChartRun[], groups: Groups): Look {
  return useMemo(() => {
    const names = new Map(runs.map(({ id, name }) => [id, name]));
    const drawn = groups.size > 0 ? [...groups.keys()] : sel.length > 0 ? sel : runs.map(({ id }) => id);
    const isColoured = sel.length > 0 || (drawn.length <= SLOTS && mode !== "density");
    const coloured = isColoured ? drawn.slice(0, SLOTS) : [];
    const places = slots(coloured);
    return {
      nameOf: (id) => groups.get(id)?.name ?? names.get(id) ?? id,
      slotOf: (id) => places.get(id) ?? null,
      smooth,
      band,
      mode,
      xIsLog: xlog,
    };
  }, [smooth, band, mode, xlog, sel, runs, groups]);
}

/** What the list beside the charts lists: the groups, or the runs of the filter below those selected from elsewhere. */
function useEntries(groups: Groups | null, runs: readonly ChartRun[], selected: readonly ChartRun[], look: Look): Entry[] {
  return useMemo(() => {
    if (groups) {
      return [...groups].map(([id, { name, runCount }]) => ({ id, name, runCount, slot: look.slotOf(id), isRunning: false }));
    }
    const here = new Set(runs.map(({ id }) => id));
    return [...selected.filter(({ id }) => !here.has(id)), ...runs].map((run) => ({
      id: run.id,
      name: run.name,
      runCount: null,
      slot: look.slotOf(run.id),
      isRunning: isRunning(run),
    }));
  }, [groups, runs, selected, look]);
}

function useChartKeys(view: View, update: Update, frames: ReadonlyMap<string, Frame>, page: RefObject<HTMLElement | null>): void {
  function zoom(factor: number): void {
    const range = view.xr ?? extent([...frames.values()].map(({ xs }) => xs), view.xlog);
    if (range) {
      update({ xr: zoomed(range, factor, view.xlog) });
    }
  }
  function step(by: number): void {
    const charts = chartsOf(page);
    const at = charts.findIndex(hasFocus);
    charts[at === -1 ? 0 : Math.min(charts.length - 1, Math.max(0, at + by))]?.focus();
  }
  useShortcuts([
    { keys: "+", does: "zoom in", run: () => zoom(0.5) },
    { keys: "-", does: "zoom out", run: () => zoom(2) },
    { keys: "0", does: "show the whole again", run: () => update({ xr: null, yr: null, ym: null }) },
    { keys: "l", does: "logarithmic y", run: () => update({ ylog: !view.ylog }) },
    { keys: "[", does: "previous chart", run: () => step(-1) },
    { keys: "]", does: "next chart", run: () => step(1) },
  ]);
}

/** Keys for the range of values of the chart that has the focus, else of the first; `valuesOf` is what a chart shows now. */
function useValueKeys({ ylog }: View, update: Update, page: RefObject<HTMLElement | null>, valuesOf: (metric: string) => Range | null): void {
  function change(changed: (range: Range) => Range): void {
    const charts = chartsOf(page);
    const chart = charts.find(hasFocus) ?? charts[0];
    const metric = chart?.dataset["key"] ?? null;
    const range = metric === null ? null : valuesOf(metric);
    if (range) {
      chart!.focus();
      update({ yr: changed(range), ym: metric });
    }
  }
  useShortcuts([
    { keys: ">", does: "zoom in to the values of the chart", run: () => change((range) => zoomed(range, 0.5, ylog)) },
    { keys: "<", does: "zoom out of them", run: () => change((range) => zoomed(range, 2, ylog)) },
    { keys: "K", does: "higher values", run: () => change((range) => moved(range, 0.25, ylog)) },
    { keys: "J", does: "lower values", run: () => change((range) => moved(range, -0.25, ylog)) },
  ]);
}

const chartsOf = (page: RefObject<HTMLElement | null>): HTMLElement[] => [...(page.current?.querySelectorAll<HTMLElement>("[data-key]") ?? [])];
const hasFocus = (chart: HTMLElement): boolean => chart.contains(document.activeElement);
