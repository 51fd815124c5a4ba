import { expect, test } from "vitest";
import { nearestPlace, partBetween, valueAt } from "./nearest";

const XS = new Float64Array([0, 10, 20, 30]);

test("between two buckets the value lies on the line between them", () => {
  const values = new Float32Array([1, NaN, 3, NaN]);

  expect([0, 5, 10, 20].map((x) => valueAt(XS, values, x))).toEqual([1, 1.5, 2, 3]);
});

test("before the first and after the last value there is none", () => {
  const values = new Float32Array([NaN, 1, 2, NaN]);

  expect([-5, 0, 9, 21, 40].map((x) => valueAt(XS, values, x))).toEqual([NaN, NaN, NaN, NaN, NaN]);
});

test("the nearest place is one that has a value", () => {
  const values = new Float32Array([1, NaN, 3, NaN]);

  expect([0, 9, 11, 20].map((x) => nearestPlace(XS, values, x))).toEqual([0, 0, 2, 2]);
  expect([-1, 21, 99].map((x) => nearestPlace(XS, values, x))).toEqual([-1, -1, -1]);
  expect(nearestPlace(new Float64Array(), new Float32Array(), 3)).toBe(-1);
});

test("a part of a series has the values that its line comes from and leads to", () => {
  const xs = Float64Array.from({ length: 10 }, (_, i) => i);
  const full = new Float32Array(10);
  const gaps = Float32Array.from({ length: 10 }, (_, i) => (i === 1 || i === 9 ? 1 : NaN));

  expect(partBetween(xs, full, 3.5, 5.5)).toEqual([3, 7]);
  expect(partBetween(xs, gaps, 3.5, 5.5)).toEqual([1, 10]);
  expect(partBetween(xs, full, -5, 50)).toEqual([0, 10]);
  expect(partBetween(xs, full, 20, 30)).toEqual([9, 10]);
});
