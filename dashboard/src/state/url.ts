/*
 * The state of a view is the query of its address: readable, stable, total. Reading never fails: what makes no sense is
 * left out, and keys that this version does not know are kept as they are. `parse(format(view))` gives the view back.
 */
export type Area = "ATTRIBUTE" | "PARAM" | "METRIC" | "TAG" | "SOURCE" | "DATASET";
export type Stat = "LAST" | "FIRST" | "MIN" | "MAX" | "BEST" | "COUNT";
/** What charts are drawn over: "metric:" is followed by the key of another metric. */
export type XKind = "step" | "wall" | "rel" | `metric:${string}`;
export type Band = "std" | "minmax" | "none";
export type Mode = "auto" | "lines" | "density";
export type Theme = "light" | "dark";
export type Range = readonly [number, number];

/** A column of runs; `stat` counts only for metrics. */
export interface Column {
  area: Area;
  key: string;
  stat: Stat;
}

export interface ShownColumn extends Column {
  /** CSS pixels; null is as wide as usual. */
  width: number | null;
}

export interface Sort extends Column {
  descending: boolean;
}

export interface View {
  /** The filter, in the language of `where`. */
  q: string;
  /** null is the usual choice. */
  cols: readonly ShownColumn[] | null;
  /** How many of the first columns stay in sight. */
  pin: number;
  sort: readonly Sort[];
  group: readonly Column[];
  /** Whether only columns are shown in which runs differ. */
  diff: boolean;
  /** Run ids in the order in which they were selected, which gives them their colours. */
  sel: readonly string[];
  /** The highlighted run. */
  hl: string | null;
  /** Metrics or globs of them. */
  m: readonly string[];
  x: XKind;
  xr: Range | null;
  yr: Range | null;
  /** The metric whose chart has the range `yr`; null is all charts. */
  ym: string | null;
  xlog: boolean;
  ylog: boolean;
  /** The weight of an exponential moving average, 0 to 1 exclusive; 0 is off. */
  smooth: number;
  band: Band;
  mode: Mode;
  /** null is what the system says. */
  theme: Theme | null;
  /** Keys of other pages, or of a later version, in their order. */
  rest: readonly (readonly [string, string])[];
}

export const EMPTY: View = {
  q: "",
  cols: null,
  pin: 0,
  sort: [],
  group: [],
  diff: false,
  sel: [],
  hl: null,
  m: [],
  x: "step",
  xr: null,
  yr: null,
  ym: null,
  xlog: false,
  ylog: false,
  smooth: 0,
  band: "none",
  mode: "auto",
  theme: null,
  rest: [],
};

const VERSION = "1";
const AREAS: Record<string, Area> = {
  attr: "ATTRIBUTE",
  param: "PARAM",
  metric: "METRIC",
  tag: "TAG",
  source: "SOURCE",
  dataset: "DATASET",
};
const AREA_NAMES = Object.fromEntries(Object.entries(AREAS).map(([name, area]) => [area, name])) as Record<Area, string>;
const STATS: Record<string, Stat> = { last: "LAST", first: "FIRST", min: "MIN", max: "MAX", best: "BEST", count: "COUNT" };

// --- Lists of texts: a comma between them, and a backslash before what a text has of the marks ---

const escaped = (text: string) => text.replace(/[\\,@*]/g, "\\$&");
const unescaped = (text: string) => text.replace(/\\(.)/gs, "$1");

/** The parts between marks that no backslash hides. */
function split(text: string, mark: "," | "@" | "*"): string[] {
  if (!text.includes("\\")) {
    return text.split(mark);
  }
  const parts = [""];
  for (const [piece] of text.matchAll(/\\[\s\S]|[^\\]|\\$/g)) {
    if (piece === mark) {
      parts.push("");
    } else {
      parts[parts.length - 1] += piece;
    }
  }
  return parts;
}

const listed = (text: string) => (text === "" ? [] : split(text, ","));

// --- Columns: `param:lr`, `metric:val/loss@min`, and with a width `param:lr*120` ---

export function formatColumn({ area, key, stat }: Column): string {
  return `${AREA_NAMES[area]}:${escaped(key)}${area === "METRIC" && stat !== "LAST" ? `@${stat.toLowerCase()}` : ""}`;
}

function parseColumn(text: string): Column | null {
  const [name = "", stat, ...more] = split(text, "@");
  const at = name.indexOf(":");
  const area = Object.hasOwn(AREAS, name.slice(0, Math.max(at, 0))) ? AREAS[name.slice(0, at)] : undefined;
  const key = unescaped(name.slice(at + 1));
  if (area === undefined || key === "" || more.length > 0) {
    return null;
  }
  if (stat === undefined) {
    return { area, key, stat: "LAST" };
  }
  return area === "METRIC" && Object.hasOwn(STATS, stat) ? { area, key, stat: STATS[stat]! } : null;
}

const formatShown = ({ width, ...column }: ShownColumn) => formatColumn(column) + (width === null ? "" : `*${width}`);

function parseShown(text: string): ShownColumn | null {
  const [name = "", width] = split(text, "*");
  const column = parseColumn(name);
  return column && { ...column, width: /^\d{2,4}$/.test(width ?? "") ? Number(width) : null };
}

const formatSort = ({ descending, ...column }: Sort) => (descending ? "-" : "") + formatColumn(column);

function parseSort(text: string): Sort | null {
  const descending = text.startsWith("-");
  const column = parseColumn(descending ? text.slice(1) : text);
  return column && { ...column, descending };
}

const those = <T>(items: (T | null)[]): T[] => items.filter((item) => item !== null);
const columnsIn = <T>(parse: (text: string) => T | null, text: string) => those(listed(text).map(parse));

export const isSame = (one: Column, other: Column) =>
  one.area === other.area && one.key === other.key && (one.area !== "METRIC" || one.stat === other.stat);

// --- Selections: up to 40 ids as they are, more of them packed into 22 characters each ---

/** More than this are better said as a filter. */
export const SELECTED_MAX = 300;
const SPELLED_OUT_MAX = 40;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function packed(id: string): string {
  const bytes = id.replaceAll("-", "").match(/../g)!.map((hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return btoa(bytes.join("")).slice(0, 22).replaceAll("+", "-").replaceAll("/", "_");
}

function unpacked(text: string): string {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const hex = Array.from(bytes, (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function formatSelected(ids: readonly string[]): string {
  return ids.length <= SPELLED_OUT_MAX ? ids.join(",") : `p:${ids.map(packed).join("")}`;
}

function parseSelected(text: string): string[] {
  const ids = text.startsWith("p:") ? (text.slice(2).match(/[\w-]{22}/g) ?? []).map(unpacked) : text.split(",");
  return [...new Set(ids.filter((id) => UUID.test(id)))].slice(0, SELECTED_MAX);
}

// --- Numbers and choices ---

function parseRange(text: string): Range | null {
  const [low, high, ...more] = text.split("..").map((part) => (part === "" ? Number.NaN : Number(part)));
  const isRange = low !== undefined && high !== undefined && more.length === 0 && Number.isFinite(low) && Number.isFinite(high);
  return isRange && low < high ? [low, high] : null;
}

function parseSmooth(text: string): number {
  const weight = Number(/^ema:(0\.\d+)$/.exec(text)?.[1] ?? 0);
  return weight < 1 ? weight : 0;
}

const one = <T extends string>(choices: readonly T[], text: string, otherwise: T): T =>
  choices.find((choice) => choice === text) ?? otherwise;

interface Key {
  read: (text: string) => Partial<View>;
  /** An empty text is left out of the address. */
  write: (view: View) => string;
}

const flag = (on: boolean) => (on ? "1" : "");

const KEYS: Record<string, Key> = {
  q: { read: (text) => ({ q: text }), write: ({ q }) => q },
  cols: {
    read: (text) => ({ cols: text === "none" ? [] : columnsIn(parseShown, text) }),
    write: ({ cols }) => (cols === null ? "" : cols.length === 0 ? "none" : cols.map(formatShown).join(",")),
  },
  pin: { read: (text) => ({ pin: /^\d{1,3}$/.test(text) ? Number(text) : 0 }), write: ({ pin }) => (pin > 0 ? String(pin) : "") },
  sort: { read: (text) => ({ sort: columnsIn(parseSort, text) }), write: ({ sort }) => sort.map(formatSort).join(",") },
  group: { read: (text) => ({ group: columnsIn(parseColumn, text) }), write: ({ group }) => group.map(formatColumn).join(",") },
  diff: { read: (text) => ({ diff: text === "1" }), write: ({ diff }) => flag(diff) },
  sel: { read: (text) => ({ sel: parseSelected(text) }), write: ({ sel }) => formatSelected(sel) },
  hl: { read: (text) => ({ hl: UUID.test(text) ? text : null }), write: ({ hl }) => hl ?? "" },
  m: { read: (text) => ({ m: listed(text).map(unescaped).filter(Boolean) }), write: ({ m }) => m.map(escaped).join(",") },
  x: { read: (text) => ({ x: /^metric:./s.test(text) ? (text as XKind) : one(["step", "wall", "rel"], text, "step") }), write: ({ x }) => (x === "step" ? "" : x) },
  xr: { read: (text) => ({ xr: parseRange(text) }), write: ({ xr }) => xr?.join("..") ?? "" },
  yr: { read: (text) => ({ yr: parseRange(text) }), write: ({ yr }) => yr?.join("..") ?? "" },
  ym: { read: (text) => ({ ym: text || null }), write: ({ ym }) => ym ?? "" },
  xlog: { read: (text) => ({ xlog: text === "1" }), write: ({ xlog }) => flag(xlog) },
  ylog: { read: (text) => ({ ylog: text === "1" }), write: ({ ylog }) => flag(ylog) },
  sm: { read: (text) => ({ smooth: parseSmooth(text) }), write: ({ smooth }) => (smooth > 0 ? `ema:${smooth}` : "") },
  band: { read: (text) => ({ band: one(["std", "minmax", "none"], text, "none") }), write: ({ band }) => (band === "none" ? "" : band) },
  mode: { read: (text) => ({ mode: one(["auto", "lines", "density"], text, "auto") }), write: ({ mode }) => (mode === "auto" ? "" : mode) },
  t: { read: (text) => ({ theme: text === "light" || text === "dark" ? text : null }), write: ({ theme }) => theme ?? "" },
  u: { read: () => ({}), write: () => "" }, // a version that is not ours is read as far as it is known
};

/** The view that the query of an address, with or without its `?`, stands for. */
export function parse(search: string): View {
  const given = [...new URLSearchParams(search)];
  const known = given.filter(([name]) => Object.hasOwn(KEYS, name)).map(([name, text]) => KEYS[name]!.read(text));
  return Object.assign({}, EMPTY, ...known, { rest: given.filter(([name]) => !Object.hasOwn(KEYS, name)) }) as View;
}

/** The view, with the very lists of the one before it where they say the same, so that nothing is worked out again. */
export function keeping(before: View, view: View): View {
  const same = (Object.keys(view) as (keyof View)[]).filter((name) => JSON.stringify(before[name]) === JSON.stringify(view[name]));
  return { ...view, ...Object.fromEntries(same.map((name) => [name, before[name]])) };
}

/** Percent-encoded, but for what an address may show as it is. */
const encoded = (text: string) =>
  encodeURIComponent(text).replace(/%(3A|2C|2F|40|3D)/g, decodeURIComponent).replaceAll("%20", "+");

/** The query of an address without its `?`; empty for the usual view. */
export function format(view: View): string {
  const own = Object.entries(KEYS).map(([name, key]) => [name, key.write(view)] as const);
  const pairs = [...own.filter(([, text]) => text !== ""), ...view.rest];
  return pairs.length === 0 ? "" : [...pairs, ["u", VERSION] as const].map(([name, text]) => `${encodeURIComponent(name)}=${encoded(text)}`).join("&");
}
