import { expect, test } from "vitest";
import { extent, moved, padded, zoomed } from "./ranges";

test("the extent leaves out what is not finite", () => {
  expect(extent([new Float32Array([NaN, 3, Infinity]), new Float32Array([-2, -Infinity])])).toEqual([-2, 3]);
  expect(extent([new Float32Array([NaN])])).toBeNull();
  expect(extent([])).toBeNull();
});

test("the extent of a logarithmic axis begins above zero", () => {
  expect(extent([[0, -4, 0.5, 8]], true)).toEqual([0.5, 8]);
});

test("a range gets air, also when it is a single value", () => {
  expect(padded([0, 100])).toEqual([-5, 105]);
  expect(padded([2, 2])).toEqual([1.9, 2.1]);
  expect(padded([0, 0])).toEqual([-1, 1]);
  const [from, to] = padded([1, 1], true);
  expect(from * to).toBeCloseTo(1);
  expect(from).toBeLessThan(1);
});

test("zooming keeps the middle", () => {
  expect(zoomed([0, 100], 0.5)).toEqual([25, 75]);
  expect(zoomed([25, 75], 2)).toEqual([0, 100]);
  const [from, to] = zoomed([1, 10_000], 0.5, true);
  expect(from).toBeCloseTo(10);
  expect(to).toBeCloseTo(1000);
});

test("a moved range is as long as before", () => {
  expect(moved([0, 100], 0.25)).toEqual([25, 125]);
  expect(moved([0, 100], -0.5)).toEqual([-50, 50]);
  expect(moved([1, 100], 0.5, true)).toEqual([10, 1000]);
});
