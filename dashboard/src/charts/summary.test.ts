import { expect, test } from "vitest";
import type { Line, Marks } from "./drawing";
import { NO_MARKS } from "./frames";
import { chartSummary, oddity, summarised } from "./summary";

function line(name: string, values: number[], marks: Partial<Marks> = {}): Line {
  const nonFiniteCount = Object.values(marks).reduce((sum, xs) => sum + xs.length, 0);
  return { id: name, name, slot: null, values: new Float32Array(values), raw: null, band: null, marks: { ...NO_MARKS, ...marks }, nonFiniteCount };
}

test("a summary is of finite values only", () => {
  expect(summarised(line("a", [NaN, 2, -1, 0.5, NaN]))).toMatchObject({ last: 0.5, min: -1, max: 2 });
  expect(summarised(line("a", [NaN]))).toMatchObject({ last: NaN, min: NaN, max: NaN });
});

test("a summary tells of what was logged, not of the smoothed line", () => {
  expect(summarised({ ...line("a", [1.5]), raw: new Float32Array([9]) })).toMatchObject({ last: 9 });
});

test("a chart is told in a sentence", () => {
  expect(chartSummary("val/loss", [line("calm-fox", [3, 0.25]), line("brave-otter", [3, 0.5], { nan: new Float64Array([1]), negativeInfinity: new Float64Array([2]) })], "run")).toBe(
    "val/loss, 2 runs, ends lowest calm-fox 0.25, highest brave-otter 0.5, 2 not finite in 1 run: ✕ NaN ▼ −∞",
  );
  expect(chartSummary("acc", [line("calm-fox", [1])], "run")).toBe("acc, 1 run, calm-fox ends at 1");
  expect(chartSummary("acc", [line("calm-fox", [NaN])], "run")).toBe("acc, 1 run, no values in this range");
});

test("nothing odd is not worth a word", () => {
  expect(oddity([line("a", [1])], "run")).toBeNull();
});
