import { expect, test } from "vitest";
import { addLine, countsOf, newRaster, pixelsOf, type Ramp, rampColours, type Raster, rowsOf } from "./layer";

const RAMP: Ramp = { few: [180, 200, 240], many: [10, 20, 80], faint: 0.4 };

function drawn(width: number, height: number, ...lines: [column: number, row: number][][]): Raster {
  const raster = newRaster(width, height);
  for (const line of lines) {
    addLine(raster, new Float64Array(line.map(([column]) => column)), new Float64Array(line.map(([, row]) => row)));
  }
  return raster;
}

/** The counts as a person reads them: a line of digits for each row of pixels. */
function picture(raster: Raster): string[] {
  const { width, height } = raster;
  const { counts } = countsOf(raster);
  return Array.from({ length: height }, (_, row) =>
    Array.from({ length: width }, (_, column) => counts[row * width + column] || ".").join(""),
  );
}

test("a flat line touches one pixel of each column", () => {
  expect(picture(drawn(5, 3, [[0.5, 1.5], [4.5, 1.5]]))).toEqual([".....", "11111", "....."]);
});

test("a steep line has no holes and counts once a pixel", () => {
  expect(picture(drawn(3, 4, [[0.5, 3.5], [2.5, 0.5]]))).toEqual(["..1", ".11", "11.", "1.."]);
});

test("many buckets in one column of pixels count once", () => {
  const line: [number, number][] = [[1.1, 0.5], [1.3, 2.5], [1.5, 0.5], [1.7, 2.5]];

  expect(picture(drawn(3, 3, line))).toEqual([".1.", ".1.", ".1."]);
});

test("lines that cross are counted together", () => {
  const flat: [number, number][] = [[0.5, 1.5], [2.5, 1.5]];

  expect(picture(drawn(3, 3, flat, flat, [[1.5, 0.5], [1.6, 2.5]]))).toEqual([".1.", "232", ".1."]);
});

test("a line goes on over empty buckets", () => {
  expect(picture(drawn(4, 1, [[0.5, 0.5], [1.5, NaN], [2.5, NaN], [3.5, 0.5]]))).toEqual(["1111"]);
});

test("a series of one point is one pixel, and one without points is none", () => {
  expect(picture(drawn(3, 1, [[1.5, 0.5]], [[1.5, NaN]], []))).toEqual([".1."]);
});

test("a line that leaves the picture is cut where it leaves", () => {
  expect(picture(drawn(3, 3, [[-1.5, -2.5], [4.5, 3.5]]))).toEqual(["11.", ".11", "..1"]);
  expect(picture(drawn(3, 2, [[-9, 0.5], [-1, 0.5]], [[4, 0.5], [9, 0.5]], [[0.5, 7], [2.5, 7]]))).toEqual(["...", "..."]);
});

test("values become rows, on a logarithmic axis only those above zero", () => {
  const rows = new Float64Array(4);

  rowsOf(new Float32Array([1, 100, 0, -1]), { scale: -10, offset: 30, isLog: true }, rows);

  expect([...rows]).toEqual([30, 10, NaN, NaN]);
});

test("the ramp begins faint and ends opaque, and nothing is no colour", () => {
  const colours = new Uint8Array(rampColours(RAMP, 9).buffer);

  expect([...colours.slice(0, 4)]).toEqual([0, 0, 0, 0]);
  expect([...colours.slice(4, 8)]).toEqual([180, 200, 240, 102]);
  expect([...colours.slice(-4)]).toEqual([10, 20, 80, 255]);
});

test("a fixed set of series gives the same pixels each time", async () => {
  const raster = newRaster(120, 60);
  const columns = Float64Array.from({ length: 50 }, (_, i) => (i * 120) / 49);
  for (let series = 0; series < 40; series += 1) {
    const values = Float32Array.from({ length: 50 }, (_, i) => (i % 7 === series % 7 ? NaN : Math.cos(i / (5 + series))));
    const rows = new Float64Array(50);
    rowsOf(values, { scale: -25, offset: 30, isLog: false }, rows);
    addLine(raster, columns, rows);
  }

  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", pixelsOf(raster, RAMP)));
  expect(Array.from(digest.slice(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("")).toMatchInlineSnapshot(`"ac7d977f57d5838b"`);
});
