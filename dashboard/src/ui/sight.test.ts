import fc from "fast-check";
import { expect, test } from "vitest";
import { columnsIn, columnsOf, edgesOf, indexesOf, revealing, rowsIn, type View } from "./sight";

const TALL = { count: 1000, height: 28, headHeight: 30 };
const WIDE = edgesOf(100, [50, 80, 120, 60, 90]);

const seen = (part: Partial<View>): View => ({ scrollTop: 0, scrollLeft: 0, clientWidth: 300, clientHeight: 590, ...part });

test("rows are those in sight and six more each way", () => {
  expect(rowsIn(seen({}), TALL)).toEqual({ from: 0, to: 26 });
  expect(rowsIn(seen({ scrollTop: 2800 }), TALL)).toEqual({ from: 94, to: 126 });
  expect(rowsIn(seen({ scrollTop: 28_000 - 560 }), TALL)).toEqual({ from: 974, to: 1000 });
});

test("columns are those in sight and one more each way", () => {
  expect(columnsIn(seen({ clientWidth: 200 }), WIDE)).toEqual({ from: 0, to: 3 });
  expect(columnsIn(seen({ clientWidth: 200, scrollLeft: 140 }), WIDE)).toEqual({ from: 1, to: 4 });
  expect(columnsIn(seen({ clientWidth: 2000 }), WIDE)).toEqual({ from: 0, to: 5 });
});

test("all columns of few cells are drawn, and of many those in sight", () => {
  expect(columnsOf({ from: 10, to: 210 }, seen({ clientWidth: 200 }), WIDE)).toEqual({ from: 0, to: 5 });
  expect(columnsOf({ from: 10, to: 211 }, seen({ clientWidth: 200 }), WIDE)).toEqual({ from: 0, to: 3 });
});

test("of a table that became smaller its end is in sight", () => {
  expect(rowsIn(seen({ scrollTop: 9000 }), { ...TALL, count: 30 })).toEqual({ from: 4, to: 30 });
  expect(rowsIn(seen({ scrollTop: 9000 }), { ...TALL, count: 3 })).toEqual({ from: 0, to: 3 });
  expect(columnsIn(seen({ scrollLeft: 900 }), [100, 150, 230])).toEqual({ from: 0, to: 2 });
  expect(rowsIn(seen({}), { ...TALL, count: 0 })).toEqual({ from: 0, to: 0 });
  expect(columnsIn(seen({ scrollLeft: 500 }), [100])).toEqual({ from: 0, to: 0 });
});

test("every pixel of the window that is not covered lies in a row and a column that are drawn", () => {
  const places = fc.record({
    count: fc.integer({ min: 1, max: 500 }),
    widths: fc.array(fc.integer({ min: 48, max: 300 }), { minLength: 1, maxLength: 30 }),
    down: fc.double({ min: 0, max: 1, noNaN: true }),
    right: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(places, ({ count, widths, down, right }) => {
      const edges = edgesOf(100, widths);
      const scrollTop = down * Math.max(0, 30 + 28 * count - 590);
      const scrollLeft = right * Math.max(0, edges.at(-1)! - 300);
      const rows = indexesOf(rowsIn(seen({ scrollTop, scrollLeft }), { ...TALL, count }));
      const columns = indexesOf(columnsIn(seen({ scrollTop, scrollLeft }), edges));

      expect(28 * rows[0]!).toBeLessThanOrEqual(scrollTop);
      expect(30 + 28 * (rows.at(-1)! + 1)).toBeGreaterThanOrEqual(Math.min(scrollTop + 590, 30 + 28 * count));
      expect(edges[columns[0]!]).toBeLessThanOrEqual(scrollLeft + 100);
      expect(edges[columns.at(-1)! + 1]).toBeGreaterThanOrEqual(Math.min(scrollLeft + 300, edges.at(-1)!));
    }),
  );
});

test("a cell is brought into sight by scrolling as little as that takes", () => {
  expect(revealing(0, 560, 588, 0, 560)).toBe(28);
  expect(revealing(2800, 560, 588, 0, 560)).toBe(560);
  expect(revealing(300, 560, 588, 0, 560)).toBe(300);
  expect(revealing(300, 350, 400, 100, 300)).toBe(250);
});
