import { expect, test } from "vitest";
import { smoothed } from "./smooth";

const column = (...values: number[]): Float32Array => new Float32Array(values);

test("a weight of zero changes nothing", () => {
  expect(smoothed(column(3, NaN, -1), 0)).toEqual(column(3, NaN, -1));
});

test("a constant stays constant from its first value on", () => {
  for (const value of smoothed(column(5, 5, 5, 5), 0.9)) {
    expect(value).toBeCloseTo(5, 6);
  }
});

test("the average is corrected for its start", () => {
  // By hand for a weight of 0.5: (1), (0.5 * 1 + 1 * 2) / 1.5, (0.25 * 1 + 0.5 * 2 + 1 * 6) / 1.75
  const [first, second, third] = smoothed(column(1, 2, 6), 0.5);

  expect(first).toBe(1);
  expect(second).toBeCloseTo(2.5 / 1.5, 6);
  expect(third).toBeCloseTo(7.25 / 1.75, 6);
});

test("gaps stay gaps and do not count", () => {
  const [first, gap, second] = smoothed(column(1, NaN, 2), 0.5);

  expect(first).toBe(1);
  expect(gap).toBeNaN();
  expect(second).toBeCloseTo(2.5 / 1.5, 6);
});

test("what was given is left as it was", () => {
  const values = column(1, 2);

  smoothed(values, 0.5);

  expect(values).toEqual(column(1, 2));
});
