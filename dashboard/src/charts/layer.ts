/*
 * Many series as one raster: how many of them pass through each pixel.
 *
 * A series goes through each column of pixels as one vertical span, so only the two ends of the span are noted, and one
 * sum over the raster at the end makes counts of them: what a series costs does not depend on how steep it is.
 */

/** From a value to a row of pixels: `scale * value + offset`, of the decimal logarithm when `isLog`. */
export interface ToPixels {
  scale: number;
  offset: number;
  isLog: boolean;
}

/** Up to 32,767 lines, as the vertical spans that they have in each column of pixels. */
export interface Raster {
  width: number;
  height: number;
  /** At `row * width + column` how many more spans begin than have ended just above; row 0 is at the top. */
  ends: Int16Array;
  /** The span of the line that is being added, in each column; empty where `tops` is greater. */
  tops: Float64Array;
  bottoms: Float64Array;
}

export function newRaster(width: number, height: number): Raster {
  const ends = new Int16Array(width * (height + 1));
  return { width, height, ends, tops: new Float64Array(width), bottoms: new Float64Array(width) };
}

/** The row of each value, NaN where there is none or it cannot be shown on a logarithmic axis. */
export function rowsOf(values: Float32Array, { scale, offset, isLog }: ToPixels, rows: Float64Array): void {
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i]!;
    rows[i] = scale * (isLog ? (value > 0 ? Math.log10(value) : NaN) : value) + offset;
  }
}

/**
 * Add one series: its line through `columns[i], rows[i]` in pixels, over the gaps where a row is NaN. `columns` must not
 * decrease. Each pixel that the line touches counts once.
 */
export function addLine(raster: Raster, columns: Float64Array, rows: Float64Array): void {
  raster.tops.fill(Infinity);
  raster.bottoms.fill(-Infinity);
  let previous = -1;
  for (let i = 0; i < rows.length; i += 1) {
    if (!Number.isNaN(rows[i]!)) {
      const from = previous === -1 ? i : previous;
      traceSegment(raster, columns[from]!, rows[from]!, columns[i]!, rows[i]!);
      previous = i;
    }
  }
  closeSpans(raster);
}

/** Widen the spans of the columns that a straight line goes through. */
function traceSegment(raster: Raster, x0: number, y0: number, x1: number, y1: number): void {
  const { width } = raster;
  if (x1 < 0 || x0 >= width) {
    return;
  }
  const slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : 0;
  const first = x0 > 0 ? x0 | 0 : 0;
  const last = x1 < width ? x1 | 0 : width;
  let y = x0 < 0 ? y0 - slope * x0 : y0;
  let edge = y0 + slope * (first + 1 - x0);
  for (let column = first; column < last; column += 1) {
    widen(raster, column, y, edge);
    y = edge;
    edge += slope;
  }
  if (last < width) {
    widen(raster, last, y, y1);
  }
}

function widen({ tops, bottoms }: Raster, column: number, y0: number, y1: number): void {
  const top = y0 < y1 ? y0 : y1;
  const bottom = y0 < y1 ? y1 : y0;
  if (top < tops[column]!) {
    tops[column] = top;
  }
  if (bottom > bottoms[column]!) {
    bottoms[column] = bottom;
  }
}

/** Note where the spans of the line begin and end. */
function closeSpans({ width, height, ends, tops, bottoms }: Raster): void {
  for (let column = 0; column < width; column += 1) {
    const top = tops[column]!;
    const bottom = bottoms[column]!;
    if (top < height && bottom >= 0) {
      const first = top > 0 ? top | 0 : 0;
      const last = bottom < height ? bottom | 0 : height - 1;
      ends[first * width + column]! += 1;
      ends[(last + 1) * width + column]! -= 1;
    }
  }
}

/** How many lines touch each pixel, row by row. */
export function countsOf({ width, height, ends }: Raster): Uint16Array {
  const counts = new Uint16Array(width * height);
  for (let i = 0; i < width; i += 1) {
    counts[i] = ends[i]!;
  }
  for (let i = width; i < counts.length; i += 1) {
    counts[i] = counts[i - width]! + ends[i]!;
  }
  return counts;
}

export type Rgb = readonly [red: number, green: number, blue: number];

/** The colours of a density: `few` for a single series, `many` where most of them run. */
export interface Ramp {
  few: Rgb;
  many: Rgb;
  /** How opaque a single series is, 0 to 1. */
  faint: number;
}

/** The colour of each count from 0 to `most`, as the bytes of an image: red, green, blue, opacity. */
export function rampColours({ few, many, faint }: Ramp, most: number): Uint32Array {
  const bytes = new Uint8ClampedArray(4 * (most + 1));
  for (let count = 1; count <= most; count += 1) {
    const share = most > 1 ? Math.log(count) / Math.log(most) : 0;
    for (const channel of [0, 1, 2] as const) {
      bytes[4 * count + channel] = few[channel] + share * (many[channel] - few[channel]);
    }
    bytes[4 * count + 3] = 255 * (faint + share * (1 - faint));
  }
  return new Uint32Array(bytes.buffer);
}

/** The raster as the pixels of an image, row by row. The rarest and the commonest count span the ramp. */
export function pixelsOf(raster: Raster, ramp: Ramp): Uint8ClampedArray<ArrayBuffer> {
  const counts = countsOf(raster);
  let most = 0;
  for (let i = 0; i < counts.length; i += 1) {
    most = counts[i]! > most ? counts[i]! : most;
  }
  const colours = rampColours(ramp, most);
  const pixels = new Uint32Array(counts.length);
  for (let i = 0; i < counts.length; i += 1) {
    pixels[i] = colours[counts[i]!]!;
  }
  return new Uint8ClampedArray(pixels.buffer);
}
