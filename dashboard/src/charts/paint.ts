/*
 * The inside of a chart on a canvas: bands, lines, densities and marks, in the pixels of the device.
 */
import { type Band, type Drawing, type Line, LINES_MAX, ODDITIES, type Oddity, type OwnRange } from "./drawing";
import { addLine, newRaster, pixelsOf, type Ramp, rowsOf, type ToPixels } from "./layer";
import { partBetween } from "./nearest";
import { lineStyle, type Palette } from "./palette";

/** Where a drawing lies on its canvas. */
export interface Place {
  left: number;
  top: number;
  width: number;
  height: number;
  /** The distance of each place of the grid from `left`. */
  columns: Float64Array;
  /** The same for any `x`. */
  toColumn: (x: number) => number;
  /** From values to distances from `top`. */
  toRow: ToPixels;
  /** Pixels of the device for one of CSS. */
  ratio: number;
}

const LIGHT_RAMP: Ramp = { few: [120, 170, 225], many: [8, 32, 92], faint: 0.35 };
const DARK_RAMP: Ramp = { few: [40, 92, 150], many: [200, 230, 255], faint: 0.45 };
// Lines that are too many for paths: all of one grey, which only adds up.
const LIGHT_GREYS: Ramp = { few: [140, 150, 161], many: [89, 99, 110], faint: 0.55 };
const DARK_GREYS: Ramp = { few: [107, 118, 131], many: [154, 165, 177], faint: 0.55 };

const RAW_OPACITY = 0.25;
const BAND_OPACITY = 0.16;
const GREY_OPACITY = 0.55;
const LINE_WIDTH = 1.5;
const GRAIN = 2; // CSS pixels that a column of a raster is wide, about as a line is: half the work
const DOT_SPACE = 14; // CSS pixels between points from which on each gets a dot

/** Draw everything but what is highlighted. */
export function paintDrawing(context: CanvasRenderingContext2D, place: Place, drawing: Drawing, palette: Palette): void {
  context.save();
  context.beginPath();
  // By whole pixels, which a screen of 1.25 pixels to one of CSS has not: soft edges would take twice as long.
  const [left, top] = [Math.round(place.left), Math.round(place.top)];
  context.rect(left, top, Math.round(place.left + place.width) - left, Math.round(place.top + place.height) - top);
  context.clip();
  context.translate(place.left, place.top);
  context.lineJoin = "round";
  const coloured = drawing.lines.filter((line) => line.slot !== null);
  const grey = drawing.lines.filter((line) => line.slot === null);
  if (drawing.asDensity) {
    paintRaster(context, place, drawing.lines, palette.isDark ? DARK_RAMP : LIGHT_RAMP);
  } else if (grey.length > LINES_MAX) {
    paintRaster(context, place, grey, palette.isDark ? DARK_GREYS : LIGHT_GREYS);
  } else {
    paintGrey(context, place, grey, palette);
  }
  for (const { band, slot } of coloured) {
    if (band) {
      paintBand(context, place, band, lineStyle(slot, palette).colour);
    }
  }
  for (const line of coloured) {
    paintLine(context, place, line, palette);
  }
  paintMarks(context, place, drawing, palette);
  context.restore();
}

/** Draw one line so that it stands out from what lies below. */
export function paintHighlight(context: CanvasRenderingContext2D, place: Place, line: Line, palette: Palette): void {
  context.lineJoin = "round";
  if (line.band) {
    paintBand(context, place, line.band, highlightColour(line, palette));
  }
  if (line.raw) {
    paintRaw(context, place, line.raw, highlightColour(line, palette));
  }
  const course = courseOf(place, line.values);
  const path = new Path2D();
  trace(path, course);
  context.strokeStyle = palette.background;
  context.lineWidth = 5 * place.ratio;
  context.stroke(path);
  context.strokeStyle = highlightColour(line, palette);
  context.lineWidth = 2.5 * place.ratio;
  context.stroke(path);
  dot(context, place, course, 3);
}

/** The colour of a highlighted line: its own, or for a grey one that of text. */
export function highlightColour(line: Line, palette: Palette): string {
  return line.slot === null ? palette.text : lineStyle(line.slot, palette).colour;
}

/** Where a line goes, in pixels of the canvas; NaN where it has no value. */
interface Course {
  columns: Float64Array;
  rows: Float64Array;
}

/** The part of a line that leads through the picture; its rows are put into `space`. */
function courseOf({ columns, width, toRow }: Place, values: Float32Array, space = new Float64Array(values.length)): Course {
  const [from, to] = partBetween(columns, values, 0, width);
  const rows = space.subarray(0, to - from);
  rowsOf(values.subarray(from, to), toRow, rows);
  return { columns: columns.subarray(from, to), rows };
}

function paintRaster(context: CanvasRenderingContext2D, place: Place, lines: readonly Line[], ramp: Ramp): void {
  const [wide, high] = [GRAIN * place.ratio, place.ratio];
  const raster = newRaster(Math.ceil(place.width / wide), Math.ceil(place.height / high));
  const scaled = {
    ...place,
    width: raster.width,
    columns: place.columns.map((column) => column / wide),
    toRow: { ...place.toRow, scale: place.toRow.scale / high, offset: place.toRow.offset / high },
  };
  const space = new Float64Array(place.columns.length);
  for (const { values } of lines) {
    const { columns, rows } = courseOf(scaled, values, space);
    addLine(raster, columns, rows);
  }
  const pixels = pixelsOf(raster, ramp);
  // Through a canvas of its own: putImageData would wipe the grid away.
  const layer = new OffscreenCanvas(raster.width, raster.height);
  layer.getContext("2d")!.putImageData(new ImageData(pixels, raster.width), 0, 0);
  context.drawImage(layer, 0, 0, raster.width * wide, raster.height * high);
}

function paintGrey(context: CanvasRenderingContext2D, place: Place, lines: Line[], palette: Palette): void {
  context.strokeStyle = palette.grey;
  context.lineWidth = place.ratio;
  context.globalAlpha = GREY_OPACITY;
  context.setLineDash([]);
  for (const { values } of lines) {
    context.beginPath();
    trace(context, courseOf(place, values));
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** The band of a line that stands out, which is not in the drawing. */
export function paintOwnRange(context: CanvasRenderingContext2D, place: Place, range: OwnRange, colour: string): void {
  paintBand(context, { ...place, columns: Float64Array.from(range.xs, place.toColumn) }, range, colour);
}

function paintBand(context: CanvasRenderingContext2D, place: Place, band: Band, colour: string): void {
  const low = new Float64Array(band.low.length);
  const high = new Float64Array(band.high.length);
  rowsOf(band.low, place.toRow, low);
  rowsOf(band.high, place.toRow, high);
  context.fillStyle = colour;
  context.globalAlpha = BAND_OPACITY;
  context.beginPath();
  const there = [...place.columns.keys()].filter((i) => !Number.isNaN(high[i]!));
  for (const i of there) {
    context.lineTo(place.columns[i]!, high[i]!);
  }
  for (const i of there.reverse()) {
    // On a logarithmic axis a band that reaches below zero has no lower end: it goes to the frame.
    context.lineTo(place.columns[i]!, Number.isNaN(low[i]!) ? place.height : low[i]!);
  }
  context.fill();
  context.globalAlpha = 1;
}

function paintLine(context: CanvasRenderingContext2D, place: Place, line: Line, palette: Palette): void {
  const { colour, dash } = lineStyle(line.slot, palette);
  const course = courseOf(place, line.values);
  if (line.raw) {
    paintRaw(context, place, line.raw, colour);
  }
  context.strokeStyle = colour;
  context.lineWidth = LINE_WIDTH * place.ratio;
  context.setLineDash(dash.map((length) => length * place.ratio));
  context.beginPath();
  trace(context, course);
  context.stroke();
  context.setLineDash([]);
  dot(context, place, course, 2);
}

/** What was logged, faintly behind the smoothed line. */
function paintRaw(context: CanvasRenderingContext2D, place: Place, raw: Float32Array, colour: string): void {
  context.strokeStyle = colour;
  context.globalAlpha = RAW_OPACITY;
  context.lineWidth = place.ratio;
  context.setLineDash([]);
  context.beginPath();
  trace(context, courseOf(place, raw));
  context.stroke();
  context.globalAlpha = 1;
}

/** The line through all places that have a row. */
function trace(path: Path2D | CanvasRenderingContext2D, { columns, rows }: Course): void {
  let isFirst = true;
  for (let i = 0; i < rows.length; i += 1) {
    const row = rows[i]!;
    if (Number.isNaN(row)) {
      continue;
    }
    if (isFirst) {
      path.moveTo(columns[i]!, row);
      isFirst = false;
    } else {
      path.lineTo(columns[i]!, row);
    }
  }
}

/** A dot on each place with a row, where these lie far apart. */
function dot(context: CanvasRenderingContext2D, { ratio }: Place, { columns, rows }: Course, radius: number): void {
  const there = [...rows.keys()].filter((i) => !Number.isNaN(rows[i]!));
  const first = columns[there[0]!]!;
  const last = columns[there.at(-1)!]!;
  if (there.length > 1 && last - first < DOT_SPACE * ratio * there.length) {
    return;
  }
  context.fillStyle = context.strokeStyle;
  for (const i of there) {
    context.beginPath();
    context.arc(columns[i]!, rows[i]!, radius * ratio, 0, 2 * Math.PI);
    context.fill();
  }
}

const MARK = 5; // CSS pixels, half as wide as high
const CROSS_WIDTH = 2.25;

/** A sign at the edge of the plot wherever a line has a point that is not finite; one where many of a kind meet. */
function paintMarks(context: CanvasRenderingContext2D, place: Place, { lines }: Drawing, palette: Palette): void {
  const size = MARK * place.ratio;
  context.lineWidth = CROSS_WIDTH * place.ratio;
  for (const { marks, slot } of lines) {
    context.fillStyle = context.strokeStyle = lineStyle(slot, palette).colour;
    for (const kind of ODDITIES) {
      let previous = -Infinity;
      for (const x of marks[kind]) {
        const column = place.toColumn(x);
        if (column - previous >= size) {
          context.beginPath();
          SIGNS[kind](context, column, place.height, size);
          previous = column;
        }
      }
    }
  }
}

type Sign = (context: CanvasRenderingContext2D, column: number, height: number, size: number) => void;

/** A cross below for NaN; for the infinities a triangle at the edge beyond which they lie, pointing there. */
const SIGNS: Record<Oddity, Sign> = {
  nan: (context, column, height, size) => {
    const half = 0.8 * size;
    const row = height - 1.2 * size;
    context.moveTo(column - half, row - half);
    context.lineTo(column + half, row + half);
    context.moveTo(column - half, row + half);
    context.lineTo(column + half, row - half);
    context.stroke();
  },
  infinity: (context, column, _, size) => triangle(context, column, 1.6 * size, 0, size),
  negativeInfinity: (context, column, height, size) => triangle(context, column, height - 1.6 * size, height, size),
};

function triangle(context: CanvasRenderingContext2D, column: number, base: number, tip: number, size: number): void {
  context.moveTo(column - size, base);
  context.lineTo(column + size, base);
  context.lineTo(column, tip);
  context.fill();
}
