/*
 * Thin lines with soft edges, as pixels of an image: many of them take a third of what they take a canvas without a GPU.
 *
 * A line goes from cell to cell along its longer direction, a row or a column of pixels each. In each it lies across two
 * pixels or, where it is thicker, some more: those at its ends are the fainter, the less of them it covers.
 */
import type { Rgb } from "./layer";

/** Lines of one colour, and a margin of pixels around what is to be seen of them. */
export interface Sheet {
  /** Row by row, with the margin: red, green, blue, opacity. */
  pixels: Uint8Array;
  /** Without the margin. */
  width: number;
  height: number;
  margin: number;
}

/** What lines are drawn with. */
export interface Pen {
  /** In pixels, at least 1, up or across, whichever is the shorter way through the line. */
  thickness: number;
  /** 0 to 1; lines over each other add up. */
  opacity: number;
}

/** How many pixels lines of this thickness need around a sheet. */
export const marginFor = (thickness: number): number => Math.ceil(thickness) + 1;

/** Make a sheet empty, for lines of this colour. */
export function wipe({ pixels }: Sheet, colour: Rgb): void {
  new Uint32Array(pixels.buffer).fill(new Uint32Array(Uint8Array.of(...colour, 0).buffer)[0]!);
}

/** A direction on a sheet: how far a pixel is from the next in `pixels`, and how many there are. */
interface Way {
  step: number;
  size: number;
}

/** Add a line through `columns[i], rows[i]` in pixels, over the gaps where a row is not finite. `columns` must not decrease. */
export function addStroke(sheet: Sheet, columns: Float64Array, rows: Float64Array, pen: Pen): void {
  const across = { step: 4, size: sheet.width };
  const down = { step: 4 * (sheet.width + 2 * sheet.margin), size: sheet.height };
  let x0 = NaN;
  let y0 = NaN;
  for (let i = 0; i < rows.length; i += 1) {
    const x1 = columns[i]!;
    const y1 = rows[i]!;
    if (!Number.isFinite(y1)) {
      continue;
    }
    if (y1 - y0 >= x1 - x0) {
      addPart(sheet, down, across, y0, x0, y1, x1, pen);
    } else if (y0 - y1 >= x1 - x0) {
      addPart(sheet, down, across, y1, x1, y0, x0, pen);
    } else if (x1 > x0) {
      addPart(sheet, across, down, x0, y0, x1, y1, pen);
    }
    x0 = x1;
    y0 = y1;
  }
}

/** Add the straight line from `a0` to `a1` on the way that it goes along, and from `b0` to `b1`, no longer, on the other. */
function addPart(sheet: Sheet, along: Way, beside: Way, a0: number, b0: number, a1: number, b1: number, pen: Pen): void {
  const { pixels, margin } = sheet;
  const from = a0 > 0 ? a0 : 0;
  const to = a1 < along.size ? a1 : along.size;
  const slope = (b1 - b0) / (a1 - a0);
  const edge = b0 + slope * (from - a0) - pen.thickness / 2; // the line's side at `from`
  const opaque = margin * (along.step + beside.step) + 3; // the opacity of the first pixel within the margin
  const opacity = 256 * pen.opacity;
  const thickness = (256 * pen.thickness) | 0;
  for (let cell = from | 0; cell < to; cell += 1) {
    const begin = cell > from ? cell : from;
    const end = cell + 1 < to ? cell + 1 : to;
    const side = edge + slope * ((begin + end) / 2 - from);
    if (side >= -margin && side < beside.size) {
      const first = Math.floor(side);
      addCell(pixels, opaque + cell * along.step + first * beside.step, beside.step, (256 * (side - first)) | 0, thickness, (opacity * (end - begin)) | 0);
    }
  }
}

/** Add the pixels of one cell, `step` apart; `start` of the first is not covered. All but `at` and `step` in parts of 256. */
function addCell(pixels: Uint8Array, at: number, step: number, start: number, thickness: number, opacity: number): void {
  const end = at + ((start + thickness) >> 8) * step;
  blend(pixels, at, (opacity * (256 - start)) >> 8);
  for (let inner = at + step; inner < end; inner += step) {
    blend(pixels, inner, opacity);
  }
  blend(pixels, end, (opacity * ((start + thickness) & 255)) >> 8);
}

function blend(pixels: Uint8Array, at: number, opacity: number): void {
  const below = pixels[at]!;
  pixels[at] = below + (((255 - below) * opacity) >> 8);
}
