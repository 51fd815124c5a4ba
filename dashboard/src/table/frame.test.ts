import { expect, test } from "vitest";
import { differs, type Frame, updated } from "./frame";

const LR = { area: "PARAM", key: "lr", stat: "LAST" } as const;
const frame = (ids: string[], lr: unknown[]): Frame => ({ ids, cells: new Map([["param:lr", lr]]), total: ids.length });

test("a changed run stays in its place and a new one comes first", () => {
  const now = updated(frame(["a", "b"], [1, 2]), ["new", "b"], frame(["new", "b"], [3, 4]));

  expect([now.ids, now.cells.get("param:lr"), now.total]).toEqual([["new", "a", "b"], [3, 1, 4], 3]);
});

test("a run that the filter no longer finds is gone", () => {
  const now = updated(frame(["a", "b"], [1, 2]), ["a"], frame([], []));

  expect([now.ids, now.cells.get("param:lr"), now.total]).toEqual([["b"], [2], 1]);
});

test("a run without a value differs from one with", () => {
  expect(differs(frame(["a", "b"], [1, null]), LR)).toBe(true);
  expect(differs(frame(["a", "b"], [{ a: 1 }, { a: 1 }]), LR)).toBe(false);
  expect(differs(frame([], []), LR)).toBe(false);
});

test("a number differs from the text that is written alike", () => {
  expect(differs(frame(["a", "b"], [1, "1"]), LR)).toBe(true);
  expect(differs(frame(["a", "b"], ["NaN", "NaN"]), LR)).toBe(false);
});
