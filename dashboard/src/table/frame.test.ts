import type { Client } from "@urql/core";
import { expect, test } from "vitest";
import type { RunsTableQueryVariables } from "../api/gql";
import { differs, type Frame, pages, updated } from "./frame";

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

/** A client that has so many runs, and answers no more than are asked for. */
const having = (total: number) =>
  ({
    query(_document: unknown, { first, after }: RunsTableQueryVariables) {
      const begin = Number(after ?? 0);
      const end = Math.min(total, begin + first);
      const ids = Array.from({ length: end - begin }, (_, at) => `run-${begin + at}`);
      return Promise.resolve({ data: { runFrame: { ids, columns: [], totalCount: total, pageInfo: { hasNextPage: end < total, endCursor: String(end) } } } });
    },
  }) as unknown as Client;

test.each([
  [0, [0]],
  [100, [100]],
  [2_500, [100, 1_100, 2_500]],
  [30_000, [100, 1_100, 10_000]],
])("of %i runs the first come soon, and no more than fit into a table", async (total, wanted) => {
  const seen: Frame[] = [];
  for await (const given of pages(having(total), { select: {}, columns: [], sort: [] })) {
    seen.push(given);
  }

  expect(seen.map(({ ids }) => ids.length)).toEqual(wanted);
  expect(new Set(seen.at(-1)!.ids).size).toBe(wanted.at(-1));
});
