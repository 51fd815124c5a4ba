import { expect, test } from "vitest";
import { metricsAtOnce } from "./useFrames";

const over = (kind: "STEP" | "METRIC") => ({ kind, metric: null, min: null, max: null });

test("A request asks for no more than the server reads", () => {
  expect(metricsAtOnce({ x: over("STEP"), buckets: 200, maxSeries: 1000 })).toBe(10);
  expect(metricsAtOnce({ x: over("METRIC"), buckets: 200, maxSeries: 1000 })).toBe(9);
  expect(metricsAtOnce({ x: over("STEP"), buckets: 2000, maxSeries: 1000 })).toBe(2);
  expect(metricsAtOnce({ x: over("STEP"), buckets: 500, maxSeries: 20 })).toBe(50);
});
