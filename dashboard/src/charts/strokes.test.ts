import { expect, test } from "vitest";
import { addStroke, marginFor, type Pen, type Sheet, wipe } from "./strokes";

const PEN: Pen = { thickness: 1, opacity: 1 };

type Point = [column: number, row: number];

function drawn(width: number, height: number, pen: Pen, ...lines: Point[][]): Sheet {
  const margin = marginFor(pen.thickness);
  const sheet = { width, height, margin, pixels: new Uint8Array(4 * (width + 2 * margin) * (height + 2 * margin)) };
  wipe(sheet, [140, 150, 161]);
  for (const line of lines) {
    addStroke(sheet, new Float64Array(line.map(([column]) => column)), new Float64Array(line.map(([, row]) => row)), pen);
  }
  return sheet;
}

/** How opaque each pixel is, 0 to 255, row by row and without the margin. */
function opacities({ pixels, width, height, margin }: Sheet): number[][] {
  const all = width + 2 * margin;
  return Array.from({ length: height }, (_, row) =>
    Array.from({ length: width }, (_, column) => pixels[4 * ((row + margin) * all + column + margin) + 3]!),
  );
}

/** The sums of the rows, in whole pixels. */
const covered = (rows: number[][]): number[] => rows.map((row) => Math.round(row.reduce((sum, each) => sum + each, 0) / 25.5) / 10);

test("a flat line through the middle of a row covers that row alone, with its opacity", () => {
  expect(opacities(drawn(3, 3, { thickness: 1, opacity: 0.55 }, [[0, 1.5], [3, 1.5]]))).toEqual([
    [0, 0, 0],
    [139, 139, 139],
    [0, 0, 0],
  ]);
});

test("every pixel has the colour of the lines", () => {
  const { pixels } = drawn(2, 2, PEN, [[0, 0.5], [2, 0.5]]);

  expect([...pixels.slice(0, 4)]).toEqual([140, 150, 161, 0]);
  expect(new Set(pixels.filter((_, i) => i % 4 === 2))).toEqual(new Set([161]));
});

test("a line between two rows is shared by them", () => {
  expect(covered(opacities(drawn(10, 4, PEN, [[0, 2], [10, 2]])))).toEqual([0, 5, 5, 0]);
  expect(covered(opacities(drawn(10, 4, PEN, [[0, 1.75], [10, 1.75]])))).toEqual([0, 7.5, 2.5, 0]);
});

test("a thicker line covers more rows, and a part of one where it is not as thick as whole pixels", () => {
  expect(covered(opacities(drawn(10, 5, { thickness: 2, opacity: 1 }, [[0, 2.5], [10, 2.5]])))).toEqual([0, 5, 10, 5, 0]);
  expect(covered(opacities(drawn(10, 5, { thickness: 1.25, opacity: 1 }, [[0, 1.625], [10, 1.625]])))).toEqual([0, 10, 2.5, 0, 0]);
});

test("a steep line is a flat one turned over", () => {
  const flat = opacities(drawn(8, 8, PEN, [[1.2, 2.3], [6.9, 4.1]]));
  const steep = opacities(drawn(8, 8, PEN, [[2.3, 1.2], [4.1, 6.9]]));

  expect(steep).toEqual(flat.map((row, i) => row.map((_, j) => flat[j]![i]!)));
});

test("a line that falls is one that rises, seen in a mirror", () => {
  const rising = opacities(drawn(8, 8, PEN, [[1, 7], [4, 1]]));
  const falling = opacities(drawn(8, 8, PEN, [[1, 1], [4, 7]]));

  expect(covered(falling)).toEqual(covered(rising).reverse());
});

test("how many places a straight line has does not show", () => {
  const ends = opacities(drawn(40, 20, { thickness: 1, opacity: 0.55 }, [[0, 5], [40, 15]]));
  const places = Array.from({ length: 81 }, (_, i): Point => [i / 2, 5 + i / 8]);
  const through = opacities(drawn(40, 20, { thickness: 1, opacity: 0.55 }, places));

  for (const [row, those] of through.entries()) {
    for (const [column, opacity] of those.entries()) {
      expect(Math.abs(opacity - ends[row]![column]!)).toBeLessThan(18);
    }
  }
});

test("a line goes on over places without a finite value", () => {
  expect(opacities(drawn(6, 3, PEN, [[0, 1.5], [2, NaN], [3, Infinity], [4, -Infinity], [6, 1.5]]))).toEqual(
    opacities(drawn(6, 3, PEN, [[0, 1.5], [6, 1.5]])),
  );
});

test("lines over each other add up and never turn pale again", () => {
  const flat: Point[] = [[0, 0.5], [1, 0.5]];
  const opacityOf = (count: number): number => opacities(drawn(1, 1, { thickness: 1, opacity: 0.55 }, ...Array.from({ length: count }, () => flat)))[0]![0]!;

  expect([1, 2, 3].map(opacityOf)).toEqual([139, 202, 230]);
  expect(opacityOf(1000)).toBeGreaterThan(250);
});

test("a line that comes from far away and leads far away is drawn where it is in the picture", () => {
  const near = opacities(drawn(6, 6, PEN, [[1, -5], [3, 10]]));

  expect(opacities(drawn(6, 6, PEN, [[1 - 2000, -5 - 15_000], [1, -5], [3, 10], [3 + 2000, 10 + 15_000]]))).toEqual(near);
  expect(covered(opacities(drawn(6, 6, PEN, [[-1e9, 2.5], [1e9, 2.5]])))).toEqual([0, 0, 6, 0, 0, 0]);
  expect(covered(opacities(drawn(6, 6, PEN, [[2.5, -1e30], [2.5, 1e30]])))).toEqual([1, 1, 1, 1, 1, 1]);
});

test("lines beside the picture leave nothing in it", () => {
  const beside: Point[][] = [
    [[-9, 2], [-1, 3]],
    [[7, 2], [9, 3]],
    [[0, -2], [6, -1]],
    [[0, 7], [6, 1e30]],
    [[-5, -1e9], [-2, 1e9]],
    [[-1e9, -8], [1e9, -9]],
  ];

  expect(opacities(drawn(6, 6, { thickness: 1.5, opacity: 1 }, ...beside)).flat().every((opacity) => opacity === 0)).toBe(true);
});

test("a single value is no line", () => {
  expect(covered(opacities(drawn(3, 3, PEN, [[1, NaN], [1.5, 1.5], [2, NaN]])))).toEqual([0, 0, 0]);
});
