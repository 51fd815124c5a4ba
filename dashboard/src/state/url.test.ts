import fc from "fast-check";
import { expect, test } from "vitest";
import { type Column, EMPTY, format, keeping, parse, type View } from "./url";

const text = fc.string({ unit: "grapheme", minLength: 1 });
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const range = fc.tuple(number, number).filter(([low, high]) => low < high);
const area = fc.constantFrom("ATTRIBUTE", "PARAM", "TAG", "SOURCE", "DATASET" as const);
const column: fc.Arbitrary<Column> = fc.oneof(
  fc.record({ area, key: text, stat: fc.constant("LAST" as const) }),
  fc.record({ area: fc.constant("METRIC" as const), key: text, stat: fc.constantFrom("LAST", "FIRST", "MIN", "MAX", "BEST", "COUNT" as const) }),
);
const width = fc.option(fc.integer({ min: 40, max: 2000 }));
const id = fc.uuid({ version: 7 });

const view: fc.Arbitrary<View> = fc.record({
  q: fc.string({ unit: "grapheme" }),
  cols: fc.option(fc.array(fc.tuple(column, width).map(([shown, wide]) => ({ ...shown, width: wide })))),
  pin: fc.integer({ min: 0, max: 999 }),
  sort: fc.array(fc.tuple(column, fc.boolean()).map(([by, descending]) => ({ ...by, descending }))),
  group: fc.array(column),
  diff: fc.boolean(),
  sel: fc.uniqueArray(id, { maxLength: 60 }),
  hl: fc.option(id),
  m: fc.array(text),
  x: fc.oneof(fc.constantFrom("step" as const, "wall" as const, "rel" as const), text.map((key) => `metric:${key}` as const)),
  xr: fc.option(range),
  yr: fc.option(range),
  ym: fc.option(text),
  xlog: fc.boolean(),
  ylog: fc.boolean(),
  smooth: fc.integer({ min: 0, max: 999 }).map((thousandths) => thousandths / 1000),
  band: fc.constantFrom("std", "minmax", "none"),
  mode: fc.constantFrom("auto", "lines", "density"),
  theme: fc.option(fc.constantFrom("light", "dark")),
  rest: fc.array(fc.tuple(text.map((name) => `later-${name}`), fc.string({ unit: "grapheme" }))),
});

test("a view comes back from its address", () => {
  fc.assert(
    fc.property(view, (given) => {
      expect(parse(format(given))).toEqual(given);
    }),
  );
});

test("an address becomes the same address once it was read", () => {
  fc.assert(
    fc.property(fc.webQueryParameters(), (given) => {
      const once = format(parse(given));
      expect(format(parse(once))).toBe(once);
    }),
  );
});

test("any text is read as some view", () => {
  const names = fc.constantFrom("cols", "sort", "group", "sel", "xr", "yr", "sm", "pin", "hl", "m", "x", "t");
  fc.assert(fc.property(names, fc.string({ unit: "grapheme" }), (name, value) => void parse(`${name}=${encodeURIComponent(value)}`)));
});

test("an address can be read by people", () => {
  const given = { ...EMPTY, cols: [{ area: "METRIC", key: "val/loss", stat: "MIN", width: null }], diff: true } as const;

  expect(format(given)).toBe("cols=metric:val/loss@min&diff=1&u=1");
  expect(format(EMPTY)).toBe("");
});

test("keys of a later version are kept", () => {
  expect(format(parse("u=7&zoom=3&q=a"))).toBe("q=a&zoom=3&u=1");
});

test("a view keeps the lists of the one before it that say the same", () => {
  const before = parse("cols=param:lr&sort=param:lr&nw=300");
  const now = keeping(before, parse("cols=param:lr&sort=-param:lr&diff=1&nw=300"));

  expect(now).toEqual(parse("cols=param:lr&sort=-param:lr&diff=1&nw=300"));
  expect([now.cols === before.cols, now.rest === before.rest, now.sort === before.sort]).toEqual([true, true, false]);
});
