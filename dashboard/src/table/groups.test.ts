import { expect, test } from "vitest";
import { asGroups, meanOf, nameOf, sortedGroups } from "./groups";

const MODEL = { area: "PARAM", key: "model", stat: "LAST" } as const;
const LOSS = { area: "METRIC", key: "loss", stat: "MIN" } as const;

const GROUPS = asGroups({
  totalCount: 3,
  runCount: 7,
  pageInfo: { hasNextPage: false, endCursor: null },
  runCounts: [5, 1, 1],
  runIds: [["a", "b", "c", "d", "e"], ["f"], ["g"]],
  keys: [{ ...MODEL, stat: null, numeric: false, differs: true, cells: ["unet", "vit", null] }],
  columns: [
    { key: "loss", stat: "MIN", count: [5, 1, 0], mean: [0.2131, 0.1, null], standardDeviation: [0.00412, null, null], min: [0.2, 0.1, null], max: [0.22, 0.1, null] },
  ],
});
const means = (groups: typeof GROUPS) => groups.map((group) => meanOf(group.summaries.get("metric:loss@min")!));

test("a group has its values, its size and the mean of its metrics", () => {
  expect(GROUPS.map((group) => nameOf(group, [MODEL]))).toEqual(["unet", "vit", "model (none)"]);
  expect(means(GROUPS)).toEqual(["0.2131 ± 0.0041", "0.1000", "–"]);
});

test("groups are sorted by means, and those without one come last", () => {
  const first = (descending: boolean) => sortedGroups(GROUPS, [{ ...LOSS, descending }]).map((group) => nameOf(group, [MODEL]));

  expect(first(false)).toEqual(["vit", "unet", "model (none)"]);
  expect(first(true)).toEqual(["unet", "vit", "model (none)"]);
});
