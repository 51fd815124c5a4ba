import type { FramesQuery, FramesWithRangeQuery, GridFragment, GroupFramesQuery, MarksFragment } from "../api/gql";
import type { Band as BandKind, Mode } from "../state/url";
import { float32Column, float64Column } from "./columns";
import { type Band, type Drawing, isDensity, type Line, type Marks } from "./drawing";
import { firstAtLeast } from "./nearest";
import { smoothed } from "./smooth";

/** A metric of some runs or groups over one grid, as the server divides it. */
export interface Frame {
  metric: string;
  xs: Float64Array;
  /** Whether every point has a place of its own in the grid. */
  isExact: boolean;
  /** Whether some series are too long to be read whole; no extreme is lost, but means are of what was read. */
  isSampled: boolean;
  pointCount: number;
  /** How many runs were not read, because they are more than are drawn; the newest are here. */
  leftOut: number;
  series: Series[];
}

export interface Series {
  /** Of the run; of a group its values as a text. */
  id: string;
  /** Of a group; null for a run, which has its name elsewhere. */
  groupName: string | null;
  runCount: number;
  mean: Float32Array;
  min: Float32Array | null;
  max: Float32Array | null;
  deviation: Float32Array | null;
  marks: Marks;
  nonFiniteCount: number;
}

/** What the server answers: a run has points that are not finite, a group a deviation. */
export type Answer = GridFragment & { series: (FrameLine & Partial<RangeLine & GroupLine>)[] };
type FrameLine = Pick<FramesQuery["metricFrames"][number]["series"][number], "runCount" | "mean">;
type RangeLine = FramesWithRangeQuery["metricFrames"][number]["series"][number];
type GroupLine = GroupFramesQuery["metricFrames"][number]["series"][number];

/** A frame out of what the server answers. */
export function frameOf(answer: Answer): Frame {
  return {
    metric: answer.metric,
    xs: float64Column(answer.x as string),
    isExact: answer.exact,
    isSampled: answer.sampled,
    pointCount: answer.totalPoints,
    leftOut: answer.truncatedSeries,
    series: answer.series.map(seriesOf),
  };
}

function seriesOf({ runId, group, runCount, mean, min, max, std, nonFinite }: Answer["series"][number]): Series {
  return {
    id: runId ?? JSON.stringify(group?.map(({ value }) => value)),
    groupName: group ? group.map(({ key, value }) => `${key}=${value === null ? "(none)" : String(value)}`).join(" ") : null,
    runCount,
    mean: float32Column(mean),
    min: min ? float32Column(min) : null,
    max: max ? float32Column(max) : null,
    deviation: std ? float32Column(std) : null,
    marks: marksOf(nonFinite),
    nonFiniteCount: nonFinite?.count ?? 0,
  };
}

export const NO_MARKS: Marks = { nan: new Float64Array(), infinity: new Float64Array(), negativeInfinity: new Float64Array() };

function marksOf(odd: MarksFragment | null | undefined): Marks {
  if (!odd || odd.count === 0) {
    return NO_MARKS;
  }
  const [nan, infinity, negativeInfinity] = [odd.nanX, odd.infinityX, odd.negativeInfinityX].map((x) => float64Column(x as string));
  return { nan: nan!, infinity: infinity!, negativeInfinity: negativeInfinity! };
}

/** How lines are named, coloured and drawn. */
export interface Look {
  nameOf: (id: string) => string;
  slotOf: (id: string) => number | null;
  /** The weight of the smoothing; 0 is off. */
  smooth: number;
  band: BandKind;
  mode: Mode;
  xIsLog: boolean;
}

/** A frame as it is drawn. On a logarithmic axis it begins above zero. */
export function drawingOf(frame: Frame, look: Look): Drawing {
  const start = look.xIsLog ? firstAtLeast(frame.xs, Number.MIN_VALUE) : 0;
  return {
    xs: frame.xs.subarray(start),
    lines: frame.series.map((series) => lineOf(series, look, start)),
    asDensity: isDensity(look.mode, frame.series.length),
  };
}

function lineOf(series: Series, look: Look, start: number): Line {
  const values = series.mean.subarray(start);
  return {
    id: series.id,
    name: look.nameOf(series.id),
    slot: look.slotOf(series.id),
    values: look.smooth > 0 ? smoothed(values, look.smooth) : values,
    raw: look.smooth > 0 ? values : null,
    band: bandOf(series, look.band, start),
    marks: series.marks,
    nonFiniteCount: series.nonFiniteCount,
  };
}

function bandOf({ mean, min, max, deviation }: Series, kind: BandKind, start: number): Band | null {
  if (kind === "std" && deviation) {
    return {
      low: mean.map((value, i) => value - deviation[i]!).subarray(start),
      high: mean.map((value, i) => value + deviation[i]!).subarray(start),
    };
  }
  return kind === "minmax" && min && max ? { low: min.subarray(start), high: max.subarray(start) } : null;
}
