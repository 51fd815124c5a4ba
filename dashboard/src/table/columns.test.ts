import { expect, test } from "vitest";
import type { Column } from "../state/url";
import { shown, sortedBy, withMoved, withPinToggled, withStat, withToggled } from "./columns";

const param = (key: string): Column => ({ area: "PARAM", key, stat: "LAST" });
const metric = (key: string, stat: Column["stat"] = "LAST"): Column => ({ area: "METRIC", key, stat });
const columns = ["a", "b", "c", "d"].map((key) => shown(param(key)));
const keys = (change: { cols: readonly Column[] | null; pin: number }) => [change.cols?.map(({ key }) => key).join(""), change.pin];

test("a column is sorted up, down and not at all", () => {
  const up = sortedBy([], param("a"), false);
  const down = sortedBy(up, param("a"), false);

  expect([up[0]?.descending, down[0]?.descending, sortedBy(down, param("a"), false)]).toEqual([false, true, []]);
});

test("another column is sorted by alone, or after the first", () => {
  const first = sortedBy([], param("a"), false);

  expect(sortedBy(first, param("b"), false).map(({ key }) => key)).toEqual(["b"]);
  expect(sortedBy(first, param("b"), true).map(({ key }) => key)).toEqual(["a", "b"]);
});

test("pinned columns stay in front", () => {
  expect(keys(withPinToggled(columns, 1, param("c")))).toEqual(["acbd", 2]);
  expect(keys(withPinToggled(columns, 2, param("a")))).toEqual(["bacd", 1]);
  expect(keys(withToggled(columns, 2, param("a")))).toEqual(["bcd", 1]);
  expect(keys(withToggled(columns, 2, param("e")))).toEqual(["abcde", 2]);
});

test("a column that is moved among pinned ones is pinned", () => {
  expect(keys(withMoved(columns, 1, param("d"), 0))).toEqual(["dabc", 2]);
  expect(keys(withMoved(columns, 2, param("a"), 3))).toEqual(["bcda", 1]);
});

test("a metric is shown once with each statistic", () => {
  const both = [metric("loss"), metric("loss", "MIN")].map(shown);

  expect(withStat(both, metric("loss"), "MIN")).toEqual([shown(metric("loss", "MIN"))]);
});
