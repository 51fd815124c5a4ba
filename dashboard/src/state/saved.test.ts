import { expect, test } from "vitest";
import { addressOfSaved, searchOf } from "./saved";
import { parse } from "./url";

test("a saved view leads back to its tab and its state", () => {
  const view = parse("q=params.lr < 1&diff=1&later=3");

  expect(addressOfSaved("e1", searchOf(view, "charts"))).toBe("/e/e1/charts?q=params.lr+%3C+1&diff=1&later=3&u=1");
  expect(addressOfSaved("e1", searchOf(view, ""))).toBe("/e/e1?q=params.lr+%3C+1&diff=1&later=3&u=1");
});

test("nothing saved is the table as it is", () => {
  expect(addressOfSaved(null, searchOf(parse(""), ""))).toBe("/compare");
});
