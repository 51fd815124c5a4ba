import type { Band as BandKind, Mode } from "../state/url";
import { type Band, type Drawing, isDensity, type Line } from "./drawing";
import { firstAtLeast } from "./nearest";
import { smoothed } from "./smooth";

/** A metric of some runs or groups over one grid, as the server divides it. */
export interface Frame {
  metric: string;
  xs: Float64Array;
  /** Whether every point has a place of its own in the grid. */
  isExact: boolean;
  pointCount: number;
  /** How many series there are beyond those that are here. */
  leftOut: number;
  series: Series[];
}

export interface Series {
  /** Of the run; of a group its values as JSON. */
  id: string;
  runCount: number;
  mean: Float32Array;
  min: Float32Array | null;
  max: Float32Array | null;
  deviation: Float32Array | null;
  nonFiniteXs: Float64Array;
  nonFiniteCount: number;
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
    nonFiniteXs: series.nonFiniteXs,
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
