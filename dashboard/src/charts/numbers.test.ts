import { expect, test } from "vitest";
import { counted, duration, float32Text, logLabels, shortValue, tickLabels } from "./numbers";

test.each([
  [0, "0"],
  [0.21314, "0.2131"],
  [-0.5, "−0.5"],
  [12345, "12,345"],
  [1234.5678, "1,234.57"],
  [3.2e-7, "3.2e-7"],
  [1e9, "1e9"],
  [NaN, "NaN"],
  [-Infinity, "−∞"],
])("the value %f reads %s", (value, text) => {
  expect(shortValue(value)).toBe(text);
});

test.each([
  [[0, 0.2, 0.4], 0.2, ["0", "0.2", "0.4"]],
  [[0, 2.5, 5], 2.5, ["0", "2.5", "5.0"]],
  [[0.21, 0.215, 0.22], 0.005, ["0.210", "0.215", "0.220"]],
  [[0, 20_000, 40_000], 20_000, ["0", "20k", "40k"]],
  [[0, 500_000, 1_000_000], 500_000, ["0", "0.5M", "1.0M"]],
  [[2000, 4000], 2000, ["2000", "4000"]],
  [[-1, 0, 1], 1, ["−1", "0", "1"]],
  [[0, 2e-6], 2e-6, ["0", "2e-6"]],
])("the ticks %j read alike", (ticks, step, labels) => {
  expect(tickLabels(ticks, step)).toEqual(labels);
});

test("a logarithmic axis has labels at the ticks that it names", () => {
  expect(logLabels([1e-5, null, 0.01, 0.132, 0.30000000000000004, 100, 1e6])).toEqual(["1e-5", "", "0.01", "", "0.3", "100", "1e6"]);
});

test.each([
  [0, "0"],
  [250, "250ms"],
  [1500, "1.5s"],
  [90_000, "1m 30s"],
  [7_200_000, "2h"],
  [180_000_000, "2d 2h"],
  [-60_000, "−1m"],
])("%i ms last %s", (ms, text) => {
  expect(duration(ms)).toBe(text);
});

test("a number of 32 bits is written with no more digits than it has", () => {
  expect([0.1, 1 / 3, 16777216, 1e-45].map(Math.fround).map(float32Text)).toEqual(["0.1", "0.33333334", "16777216", "1e-45"]);
  for (let i = 0; i < 500; i += 1) {
    const value = Math.fround(Math.exp(i / 3 - 80) * Math.PI);
    expect(Math.fround(Number(float32Text(value)))).toBe(value);
  }
});

test("one thing is not plural", () => {
  expect([counted(1, "run"), counted(1204, "run")]).toEqual(["1 run", "1,204 runs"]);
});
