/*
 * The axes of a chart: where ticks lie and what they say.
 */
import type uPlot from "uplot";
import { duration, logLabels, tickLabels } from "./numbers";
import type { Palette } from "./palette";

/** What a chart is drawn over; times are in milliseconds. */
export type XKind = "step" | "wall" | "rel" | "metric";

const FONT = "11px system-ui, sans-serif";
const SECOND = 1000;
const DURATIONS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400].flatMap(
  (seconds) => [seconds * SECOND],
);
const LONG_DURATIONS = [2, 5, 10, 20, 50, 100, 200, 500].map((days) => days * 86_400 * SECOND);
const SHORT_DURATIONS = [1, 2, 5, 10, 20, 50, 100, 200, 500];

export function xAxis(kind: XKind, isLog: boolean, palette: Palette): uPlot.Axis {
  const axis: uPlot.Axis = { ...look(palette), size: 26, space: 70 };
  if (isLog) {
    return { ...axis, values: (_, ticks) => logLabels(ticks) };
  }
  if (kind === "wall") {
    return axis; // uPlot's own, which knows calendars
  }
  if (kind === "rel") {
    return { ...axis, incrs: [...SHORT_DURATIONS, ...DURATIONS, ...LONG_DURATIONS], values: (_, ticks) => ticks.map(duration) };
  }
  return { ...axis, values: (_, ticks, __, ___, step) => tickLabels(ticks, step) };
}

export function yAxis(isLog: boolean, palette: Palette): uPlot.Axis {
  return {
    ...look(palette),
    size: (_, labels) => Math.max(44, 14 + 6.5 * Math.max(0, ...(labels ?? []).map((label) => label?.length ?? 0))),
    space: 36,
    values: (_, ticks, __, ___, step) => (isLog ? logLabels(ticks) : tickLabels(ticks, step)),
  };
}

function look({ muted, grid }: Palette): uPlot.Axis {
  return {
    font: FONT,
    stroke: muted,
    gap: 6,
    grid: { stroke: grid, width: 1 },
    ticks: { show: false },
    border: { show: false },
  };
}
