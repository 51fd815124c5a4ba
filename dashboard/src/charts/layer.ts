/*
 * Many series as one raster: how many of them pass through each pixel.
 *
 * A series goes through each column of pixels as one vertical span, so only the two ends of the span are noted, and one
 * sum down each column at the end makes counts of them: what a series costs does not depend on how steep it is.
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
  /**
   * At `column * (height + 1) + row` how many more spans begin than have ended just above; row 0 is at the top. Column
   * after column, so that both ends of a span lie in the same line of the processor's cache.
   */
  ends: Int16Array;
}

export function newRaster(width: number, height: number): Raster {
  return { width, height, ends: new Int16Array(width * (height + 1)) };
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
  const { width } = raster;
  let x0 = NaN;
  let y0 = NaN;
  let column = -1; // whose span is open, from `top` to `bottom`
  let top = 0;
  let bottom = 0;
  for (let i = 0; i < rows.length; i += 1) {
    const y1 = rows[i]!;
    if (Number.isNaN(y1)) {
      continue;
    }
    const x1 = columns[i]!;
    if (Number.isNaN(x0)) {
      x0 = x1;
      y0 = y1;
    }
    if (x1 >= 0 && x0 < width) {
      const slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : 0;
      if (column === -1 || x0 < 0) {
        column = x0 > 0 ? x0 | 0 : 0;
        top = bottom = y0 + slope * (x0 > 0 ? 0 : -x0);
      }
      const last = x1 < width ? x1 | 0 : width;
      let edge = y0 + slope * (column + 1 - x0);
      for (; column < last; column += 1) {
        addSpan(raster, column, edge < top ? edge : top, edge > bottom ? edge : bottom);
        top = bottom = edge;
        edge += slope;
      }
      if (last < width) {
        top = y1 < top ? y1 : top;
        bottom = y1 > bottom ? y1 : bottom;
      }
    }
    x0 = x1;
    y0 = y1;
  }
  if (column !== -1 && column < width) {
    addSpan(raster, column, top, bottom);
  }
}

function addSpan({ height, ends }: Raster, column: number, top: number, bottom: number): void {
  if (top < height && bottom >= 0) {
    const start = column * (height + 1);
    ends[start + (top > 0 ? top | 0 : 0)]! += 1;
    ends[start + (bottom < height ? bottom | 0 : height - 1) + 1]! -= 1;
  }
}

/** How many lines touch each pixel, row by row, and the greatest of these counts. */
export function countsOf({ width, height, ends }: Raster): { counts: Uint16Array; most: number } {
  const counts = new Uint16Array(width * height);
  let most = 0;
  for (let column = 0; column < width; column += 1) {
    let count = 0;
    let at = column * (height + 1);
    for (let to = column; to < counts.length; to += width) {
      count += ends[at]!;
      counts[to] = count;
      most = count > most ? count : most;
      at += 1;
    }
  }
  return { counts, most };
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
  const { counts, most } = countsOf(raster);
  const colours = rampColours(ramp, most);
  const pixels = new Uint32Array(counts.length);
  for (let i = 0; i < counts.length; i += 1) {
    pixels[i] = colours[counts[i]!]!;
  }
  return new Uint8ClampedArray(pixels.buffer);
}
