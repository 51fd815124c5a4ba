import { expect, test } from "vitest";
import { axisInput, rangeText, xText } from "./xaxis";

test("the server is asked for the axis that the address names", () => {
  expect(axisInput("step", null)).toEqual({ kind: "STEP", min: null, max: null });
  expect(axisInput("rel", [0, 5])).toEqual({ kind: "RELATIVE_TIME", min: 0, max: 5 });
  expect(axisInput("wall", null)).toMatchObject({ kind: "WALL_TIME" });
  expect(axisInput("metric:a:b", null)).toMatchObject({ kind: "METRIC", metric: "a:b" });
});

test("a place is told in the words of its axis", () => {
  expect(xText("step", 12_340)).toBe("step 12,340");
  expect(xText("rel", 90_000)).toBe("1m 30s");
  expect(xText("metric:epoch", 3.5)).toBe("epoch 3.5");
});

test("a range names its axis once", () => {
  expect(rangeText("step", [25, 75])).toBe("step 25 – 75");
  expect(rangeText("rel", [1000, 60_000])).toBe("1s – 1m");
});
