import { expect, test } from "vitest";
import { nearestBucket, valueAt } from "./nearest";

const XS = new Float64Array([0, 10, 20, 30]);

test("between two buckets the value lies on the line between them", () => {
  const values = new Float32Array([1, NaN, 3, NaN]);

  expect([0, 5, 10, 20].map((x) => valueAt(XS, values, x))).toEqual([1, 1.5, 2, 3]);
});

test("before the first and after the last value there is none", () => {
  const values = new Float32Array([NaN, 1, 2, NaN]);

  expect([-5, 0, 9, 21, 40].map((x) => valueAt(XS, values, x))).toEqual([NaN, NaN, NaN, NaN, NaN]);
});

test("a place belongs to the nearest bucket", () => {
  expect([-9, 4, 6, 15, 99].map((x) => nearestBucket(XS, x))).toEqual([0, 0, 1, 1, 3]);
  expect(nearestBucket(new Float64Array(), 3)).toBe(-1);
});
