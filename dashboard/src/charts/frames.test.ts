import { expect, test } from "vitest";
import { drawingOf, type Frame, type Look, NO_MARKS, type Series } from "./frames";

const LOOK: Look = { nameOf: (id) => `run ${id}`, slotOf: () => 0, smooth: 0, band: "none", mode: "auto", xIsLog: false };

function series(id: string, values: number[], more: Partial<Series> = {}): Series {
  return {
    id,
    groupName: null,
    runCount: 1,
    mean: new Float32Array(values),
    min: null,
    max: null,
    deviation: null,
    marks: NO_MARKS,
    nonFiniteCount: 0,
    ...more,
  };
}

function frame(...given: Series[]): Frame {
  return { metric: "loss", xs: new Float64Array([0, 10, 20]), isExact: true, isSampled: false, pointCount: 3, leftOut: 0, series: given };
}

test("without smoothing there is nothing behind the line", () => {
  const [line] = drawingOf(frame(series("a", [1, 2, 3])), LOOK).lines;

  expect(line).toMatchObject({ name: "run a", raw: null, band: null });
  expect([...line!.values]).toEqual([1, 2, 3]);
});

test("behind a smoothed line is what was logged", () => {
  const [line] = drawingOf(frame(series("a", [1, 2, 3])), { ...LOOK, smooth: 0.5 }).lines;

  expect([...line!.raw!]).toEqual([1, 2, 3]);
  expect(line!.values[2]).toBeLessThan(3);
});

test("a logarithmic axis begins above zero", () => {
  const drawing = drawingOf(frame(series("a", [1, 2, 3])), { ...LOOK, xIsLog: true });

  expect([...drawing.xs]).toEqual([10, 20]);
  expect([...drawing.lines[0]!.values]).toEqual([2, 3]);
});

test("a band is the deviation about the mean, or from the least to the greatest", () => {
  const given = series("g", [1, 2, 3], {
    deviation: new Float32Array([0.5, 0, NaN]),
    min: new Float32Array([0, 1, 2]),
    max: new Float32Array([2, 3, 4]),
  });

  const [std] = drawingOf(frame(given), { ...LOOK, band: "std" }).lines;
  const [whole] = drawingOf(frame(given), { ...LOOK, band: "minmax" }).lines;

  expect([...std!.band!.low]).toEqual([0.5, 2, NaN]);
  expect([...std!.band!.high]).toEqual([1.5, 2, NaN]);
  expect([...whole!.band!.low]).toEqual([0, 1, 2]);
});

test("above 150 lines a chart shows how dense they lie, unless lines are asked for", () => {
  const many = frame(...Array.from({ length: 151 }, (_, i) => series(String(i), [1, 2, 3])));

  expect(drawingOf(many, LOOK).asDensity).toBe(true);
  expect(drawingOf(many, { ...LOOK, mode: "lines" }).asDensity).toBe(false);
  expect(drawingOf(frame(series("a", [1, 2, 3])), LOOK).asDensity).toBe(false);
});
