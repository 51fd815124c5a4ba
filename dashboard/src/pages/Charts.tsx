import { type RefObject, useCallback, useMemo, useRef, useState } from "react";
import { useClient } from "urql";
import type { RunSelection } from "../api/gql";
import { Card } from "../charts/Card";
import { Controls } from "../charts/Controls";
import { isDensity } from "../charts/drawing";
import { isSavedWhole, loggedCsv, shownCsv } from "../charts/export";
import type { Frame, Look } from "../charts/frames";
import { chosenKeys } from "../charts/globs";
import { Hover, HoverContext } from "../charts/hover";
import { paletteOf, SLOTS } from "../charts/palette";
import { saveFile } from "../charts/picture";
import { extent, zoomed } from "../charts/ranges";
import { type Entry, RunList } from "../charts/RunList";
import { type FramesOf, useFrames } from "../charts/useFrames";
import { useFreshPoints } from "../charts/useFreshPoints";
import { useKeys } from "../charts/useKeys";
import { usePace } from "../charts/usePace";
import { useNames, useRuns } from "../charts/useRuns";
import { useVisible } from "../charts/useVisible";
import { axisInput } from "../charts/xaxis";
import { toggled } from "../state/selection";
import { useTheme } from "../state/theme";
import type { Range, View } from "../state/url";
import { type Update, useView } from "../state/view";
import { useShortcuts } from "../ui/Keys";
import { Problem } from "../ui/Problem";
import styles from "./Charts.module.css";

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
  const [view, update] = useView();
  const client = useClient();
  const palette = paletteOf(useTheme());
  const [hover] = useState(() => new Hover());
  const page = useRef<HTMLDivElement>(null);
  const { visible, watch } = useVisible();

  const select = useSelection(experiment, view);
  const { found, problem } = useRuns(select);
  const names = useNames(found);
  const running = useMemo(() => (found?.runs ?? []).filter(({ status }) => status === "RUNNING").map(({ id }) => id), [found]);
  const keys = useKeys(select, found?.totalCount);

  const metrics = useMemo(() => (keys === null ? [] : view.m.length === 0 ? keys.metrics : chosenKeys(view.m, keys.metrics)), [keys, view.m]);
  const shown = useMemo(() => metrics.filter((metric) => visible.has(metric)), [metrics, visible]);
  const frames = useFrames(useFramesOf(select, view, found?.totalCount ?? null), shown);

  const reload = usePace(frames.reload);
  useFreshPoints(running, shown, reload);

  const noun = view.group.length > 0 ? "group" : "run";
  const groups = useMemo(() => groupsOf(frames.frames), [frames.frames]);
  const look = useLook(view, names, groups, found?.runs.map(({ id }) => id) ?? []);
  const entries = useMemo(
    () =>
      noun === "group"
        ? [...groups].map(([id, { name, runCount }]): Entry => ({ id, name, runCount, slot: look.slotOf(id), isRunning: false }))
        : (found?.runs ?? []).map(({ id, name, status }): Entry => ({ id, name, runCount: null, slot: look.slotOf(id), isRunning: status === "RUNNING" })),
    [noun, groups, found, look],
  );

  const zoom = useCallback((range: Range | null) => update({ xr: range }), [update]);
  useChartKeys(view, update, frames.frames, page);

  async function exportFrame(frame: Frame): Promise<void> {
    const isWhole = noun === "run" && isSavedWhole(frame);
    const text = isWhole
      ? await loggedCsv(client, { runIds: frame.series.map(({ id }) => id) }, frame.metric, look.nameOf)
      : shownCsv(frame, look.nameOf, view.x);
    saveFile(new Blob([text], { type: "text/csv" }), `${frame.metric}.csv`);
  }

  if (problem) {
    return <Problem title="The runs cannot be shown" advice={problem} />;
  }
  return (
    <HoverContext value={hover}>
      <div className={styles["page"]} ref={page}>
        <div className={styles["controls"]}>
          <Controls view={view} update={update} keys={keys} />
          {frames.problem && <p role="alert">{frames.problem}</p>}
        </div>
        <div className={styles["list"]}>
          <RunList
            entries={entries}
            totalCount={noun === "run" ? (found?.totalCount ?? 0) : groups.size}
            noun={noun}
            palette={palette}
            selected={view.sel}
            onToggle={noun === "run" ? (id) => update(({ sel }) => ({ sel: toggled(sel, id) })) : null}
            onClear={() => update({ sel: [] })}
          />
        </div>
        <div className={styles["cards"]} data-scroller>
          {found !== null && keys !== null && metrics.length === 0 && <NoCharts view={view} runCount={found.totalCount} />}
          {metrics.map((metric) => (
            <div key={metric} data-key={metric} tabIndex={-1} ref={watch}>
              {visible.has(metric) && (
                <Card
                  metric={metric}
                  frame={frames.frames.get(metric) ?? null}
                  view={view}
                  look={look}
                  palette={palette}
                  noun={noun}
                  onZoom={zoom}
                  onExport={(frame) => void exportFrame(frame)}
                />
              )}
            </div>
          ))}
        </div>
      </div>
    </HoverContext>
  );
}

function NoCharts({ view, runCount }: { view: View; runCount: number }) {
  if (runCount === 0) {
    return <p className="muted">No runs here. Check some in the table, or change the filter.</p>;
  }
  return <p className="muted">{view.m.length > 0 ? "No metric of these runs has such a name." : "These runs have logged no metrics."}</p>;
}

/** Which runs: those of the experiment that the filter leaves, or without an experiment the selected ones. */
function useSelection(experiment: string | null, { q, sel }: View): RunSelection {
  const ids = experiment === null ? sel.join() : "";
  return useMemo(
    () => (experiment === null ? { runIds: ids === "" ? [] : ids.split(",") } : { experimentIds: [experiment], where: q || null }),
    [experiment, q, ids],
  );
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

/** The groups that any chart shows, in the order of their values. */
function groupsOf(frames: ReadonlyMap<string, Frame>): ReadonlyMap<string, { name: string; runCount: number }> {
  const groups = new Map<string, { name: string; runCount: number }>();
  for (const { series } of frames.values()) {
    for (const { id, groupName, runCount } of series) {
      if (groupName !== null) {
        groups.set(id, { name: groupName, runCount: Math.max(runCount, groups.get(id)?.runCount ?? 0) });
      }
    }
  }
  return groups;
}

/** How lines look: coloured are the selected runs, or where none is selected all, if colours suffice. */
function useLook(view: View, names: ReadonlyMap<string, string>, groups: ReadonlyMap<string, { name: string }>, runIds: readonly string[]): Look {
  const { smooth, band, mode, xlog, sel } = view;
  const slots = useMemo(() => {
    const coloured = groups.size > 0 ? [...groups.keys()] : sel.length > 0 ? sel : runIds;
    return new Map(coloured.length <= SLOTS || sel.length > 0 ? coloured.slice(0, SLOTS).map((id, slot) => [id, slot]) : []);
  }, [groups, sel, runIds]);
  return useMemo(
    () => ({
      nameOf: (id) => groups.get(id)?.name ?? names.get(id) ?? id,
      slotOf: (id) => slots.get(id) ?? null,
      smooth,
      band,
      mode,
      xIsLog: xlog,
    }),
    [groups, names, slots, smooth, band, mode, xlog],
  );
}

function useChartKeys(view: View, update: Update, frames: ReadonlyMap<string, Frame>, page: RefObject<HTMLElement | null>): void {
  function zoom(factor: number): void {
    const range = view.xr ?? extent([...frames.values()].map(({ xs }) => xs), view.xlog);
    if (range) {
      update({ xr: zoomed(range, factor, view.xlog) });
    }
  }
  function step(by: number): void {
    const charts = [...(page.current?.querySelectorAll<HTMLElement>("[data-key]") ?? [])];
    const at = charts.findIndex((chart) => chart.contains(document.activeElement));
    charts[at === -1 ? 0 : Math.min(charts.length - 1, Math.max(0, at + by))]?.focus();
  }
  useShortcuts([
    { keys: "+", does: "zoom in", run: () => zoom(0.5) },
    { keys: "-", does: "zoom out", run: () => zoom(2) },
    { keys: "0", does: "show the whole again", run: () => update({ xr: null }) },
    { keys: "l", does: "logarithmic y", run: () => update({ ylog: !view.ylog }) },
    { keys: "[", does: "previous chart", run: () => step(-1) },
    { keys: "]", does: "next chart", run: () => step(1) },
  ]);
}
