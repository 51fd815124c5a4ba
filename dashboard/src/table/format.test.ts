import { expect, test } from "vitest";
import { ago, brief, count, decimal, duration, result } from "./format";

const METRIC = { area: "METRIC", key: "loss", stat: "LAST" } as const;
const NOW = Date.parse("2026-03-01T12:00:00Z");

test.each([
  [0.21309999, "0.2131"],
  [3e-4, "3e-4"],
  [0.001, "0.001"],
  [0.00463012345, "0.0046301"],
  [0.0223211234, "0.0223211"],
  [256, "256"],
  [1e12, "1e+12"],
  [-0.5, "-0.5"],
  [123456.789, "123457"],
  [0, "0"],
])("%d is written as %s", (value, written) => {
  expect(decimal(value)).toBe(written);
});

test.each([
  [0.21309999, "0.2131"],
  [0.5, "0.5000"],
  [123456.789, "123500"],
  [1234567, "1234567"],
  [0.00012346, "1.235e-4"],
  [9, "9"],
])("the result %d is written as %s", (value, written) => {
  expect(result(value)).toBe(written);
});

test.each([[0.0004, "0 ms"], [0.046, "46 ms"], [0.25, "0.3 s"], [61, "1 m 1 s"], [7440, "2 h 4 m"], [180_000, "2 d 2 h"]])("%d seconds are %s", (seconds, written) => {
  expect(duration(seconds)).toBe(written);
});

test("times are told from now, and by their date when they are old", () => {
  expect(ago("2026-03-01T11:59:30Z", NOW)).toBe("just now");
  expect(ago("2026-03-01T09:00:00Z", NOW)).toBe("3 h ago");
  expect(ago("2026-02-28T11:00:00Z", NOW)).toBe("1 day ago");
  expect(ago("2025-12-01T11:00:00Z", NOW)).toBe("2025-12-01");
});

test("what is not a number is shown as it is", () => {
  expect(brief(METRIC, "NaN", NOW)).toBe("NaN");
  expect(brief(METRIC, null, NOW)).toBe("–");
  expect(brief({ ...METRIC, area: "PARAM" }, { a: [1] }, NOW)).toBe('{"a":[1]}');
});

test.each([
  [0, "0"],
  [999, "999"],
  [1_000, "1,000"],
  [-1_234_567, "-1,234,567"],
  [1234.5678, "1,234.5678"],
])("thousands of %f stand apart", (value, text) => {
  expect(count(value)).toBe(text);
});
