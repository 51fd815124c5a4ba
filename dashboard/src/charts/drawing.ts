import type { Mode, Range } from "../state/url";
import { firstAtLeast } from "./nearest";
import { extent } from "./ranges";

/** One series of a chart as it is drawn: of a run, or of a group of runs. */
export interface Line {
  id: string;
  name: string;
  /** The place in the palette; null is grey. */
  slot: number | null;
  /** One value for each place of the drawing's `xs`; NaN where there is none. */
  values: Float32Array;
  /** The same without smoothing, to be drawn faintly behind; null where nothing is smoothed. */
  raw: Float32Array | null;
  band: Band | null;
  marks: Marks;
  /** How many of its points are NaN or infinite. */
  nonFiniteCount: number;
}

/** What a point that is not finite can be. */
export const ODDITIES = ["nan", "infinity", "negativeInfinity"] as const;
export type Oddity = (typeof ODDITIES)[number];

/** Where points of each kind that is not finite stand, as far as the server lists them. */
export type Marks = Record<Oddity, Float64Array>;

export interface Band {
  low: Float32Array;
  high: Float32Array;
}

/** From the least to the greatest value of one line, over places of its own. */
export interface OwnRange extends Band {
  id: string;
  xs: Float64Array;
}

/** What a chart shows: lines over one grid. */
export interface Drawing {
  xs: Float64Array;
  lines: Line[];
  asDensity: boolean;
}

/** Above this many lines a chart shows how dense they lie, unless lines are asked for. */
export const LINES_MAX = 150;

/** Whether so many lines are drawn as a density. */
export function isDensity(mode: Mode, lineCount: number): boolean {
  return mode === "density" || (mode === "auto" && lineCount > LINES_MAX);
}

/** From the least to the greatest value that is drawn between the ends of `xs`; null when nothing is. */
export function valueRange({ xs, lines }: Drawing, [from, to]: Range, isLog: boolean): Range | null {
  // One bucket more at each end: lines lead out of the picture.
  const first = Math.max(0, firstAtLeast(xs, from) - 1);
  const last = Math.min(xs.length, firstAtLeast(xs, to) + 1);
  function* drawn(): Generator<Float32Array> {
    for (const { values, raw, band } of lines) {
      yield values.subarray(first, last);
      if (raw) {
        yield raw.subarray(first, last);
      }
      if (band) {
        yield band.low.subarray(first, last);
        yield band.high.subarray(first, last);
      }
    }
  }
  return extent(drawn(), isLog);
}
