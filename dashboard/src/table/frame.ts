/* Runs as columns: what the server answers, put together page by page and kept current run by run. */
import type { Client } from "@urql/core";
import { ask, known } from "../api/ahead";
import { type RunSelection, RunsTableDocument, type RunsTableQuery } from "../api/gql";
import type { Column, Sort } from "../state/url";
import { asked, keyOf, NAME, ordered, STATUS } from "./columns";
import { remembering } from "./remembering";

/** No table holds more rows; a filter says which. */
export const ROWS_MAX = 10_000;
/** More than a screen has, and a quarter of the time of a page. */
export const FIRST_ROWS = 100;
export const PAGE_ROWS = 1_000;

export interface Frame {
  ids: readonly string[];
  /** By what `keyOf` says of the column; a cell for each id. */
  cells: ReadonlyMap<string, readonly unknown[]>;
  /** How many runs the selection has, of which these may be the first. */
  total: number;
}

export interface Asked {
  select: RunSelection;
  columns: readonly Column[];
  sort: readonly Sort[];
}

type Page = RunsTableQuery["runFrame"];

/** The columns that every table needs, and those that are shown, each once. */
function all(columns: readonly Column[]): Column[] {
  return [...new Map([NAME, STATUS, ...columns].map((column) => [keyOf(column), column])).values()];
}

/** What to ask for; the runs of a selection are counted with its first rows. */
export const variablesOf = ({ select, columns, sort }: Asked, first: number, after: string | null = null, isCounted = after === null) => ({
  select,
  columns: all(columns).map(asked),
  orderBy: ordered(sort),
  first,
  after,
  isCounted,
});

const asFrame = remembering(({ ids, columns, totalCount }: Page): Frame => {
  const cells = columns.map(({ area, key, stat, cells }) => [keyOf({ area, key, stat: stat ?? "LAST" }), cells] as const);
  return { ids: ids as string[], cells: new Map(cells), total: totalCount ?? 0 };
});

function joined(frames: readonly Frame[]): Frame {
  const [first, ...others] = frames;
  if (others.length === 0) {
    return first!;
  }
  const cells = [...first!.cells.keys()].map((key) => [key, frames.flatMap((frame) => frame.cells.get(key) ?? [])] as const);
  return { ids: frames.flatMap(({ ids }) => ids), cells: new Map(cells), total: first!.total };
}

/** The first rows, where they were asked for ahead and are there; null otherwise. */
export function firstRows(wanted: Asked): Frame | null {
  const found = known(RunsTableDocument, variablesOf(wanted, FIRST_ROWS));
  return found && asFrame(found.runFrame);
}

/** The first rows soon, and more each time there are ten times as many, until all are there. Throws a `CombinedError`. */
export async function* pages(client: Client, wanted: Asked): AsyncGenerator<Frame> {
  const frames: Frame[] = [];
  let after: string | null = null;
  let [rows, given] = [0, 0];
  do {
    const first = rows === 0 ? FIRST_ROWS : Math.min(PAGE_ROWS, ROWS_MAX - rows);
    const page: Page = await asking(client, wanted, first, after);
    const frame = asFrame(page);
    frames.push(frame);
    rows += frame.ids.length;
    after = page.pageInfo.hasNextPage && rows < ROWS_MAX ? page.pageInfo.endCursor : null;
    if (rows >= 10 * given || after === null) {
      given = rows;
      yield joined(frames);
    }
  } while (after !== null);
}

async function asking(client: Client, wanted: Asked, ...how: [first: number, after?: string | null, isCounted?: boolean]): Promise<Page> {
  return (await ask(client, RunsTableDocument, variablesOf(wanted, ...how), "network-only")).runFrame;
}

/** Some of its runs as they are now. */
export async function current(client: Client, wanted: Asked, ids: readonly string[]): Promise<Frame> {
  const among = wanted.select.runIds;
  const runIds = among ? ids.filter((id) => among.includes(id)) : [...ids];
  return asFrame(await asking(client, { ...wanted, select: { ...wanted.select, runIds }, sort: [] }, PAGE_ROWS));
}

/** With what these runs are now: new ones come first, and those that the selection no longer has are gone. */
export function updated(frame: Frame, ids: readonly string[], changed: Frame): Frame {
  const left = new Set(ids);
  changed.ids.forEach((id) => left.delete(id));
  return merged(without(frame, left), changed);
}

function without(frame: Frame, gone: ReadonlySet<string>): Frame {
  const kept = frame.ids.flatMap((id, place) => (gone.has(id) ? [] : [place]));
  if (kept.length === frame.ids.length) {
    return frame;
  }
  const cells = [...frame.cells].map(([key, column]) => [key, kept.map((place) => column[place])] as const);
  return { ids: kept.map((place) => frame.ids[place]!), cells: new Map(cells), total: frame.total - (frame.ids.length - kept.length) };
}

function merged(frame: Frame, changed: Frame): Frame {
  const places = new Map(frame.ids.map((id, place) => [id, place]));
  const fresh = changed.ids.flatMap((id, place) => (places.has(id) ? [] : [place]));
  const cells = [...frame.cells].map(([key, column]) => {
    const given = changed.cells.get(key) ?? [];
    const next = [...column];
    changed.ids.forEach((id, place) => {
      const at = places.get(id);
      if (at !== undefined) {
        next[at] = given[place] ?? null;
      }
    });
    return [key, [...fresh.map((place) => given[place] ?? null), ...next]] as const;
  });
  return {
    ids: [...fresh.map((place) => changed.ids[place]!), ...frame.ids],
    cells: new Map(cells),
    total: frame.total + fresh.length,
  };
}

/** Whether any two runs differ in it; a run without it differs from one with. */
export function differs(frame: Frame, column: Column): boolean {
  const cells = frame.cells.get(keyOf(column)) ?? [];
  const first = cells[0] ?? null;
  const text = JSON.stringify(first);
  return cells.some((cell) => cell !== first && JSON.stringify(cell ?? null) !== text);
}

/** Of its runs those that are running. */
export function runningIds({ ids, cells }: Frame): string[] {
  const status = cells.get(keyOf(STATUS)) ?? [];
  return ids.filter((_, at) => status[at] === "RUNNING");
}

const LOOKED_AT = 50;

/** Whether it looks like a column of numbers, which stand to the right. */
export function isNumeric(frame: Frame, column: Column): boolean {
  const some = (frame.cells.get(keyOf(column)) ?? []).slice(0, LOOKED_AT).filter((cell) => cell !== null && cell !== undefined);
  return some.length > 0 && some.every((cell) => typeof cell === "number");
}

/** Runs of the selection that began in the last seconds. */
export async function freshIds(client: Client, select: RunSelection, seconds: number): Promise<readonly string[]> {
  const fresh = `createdAt > '-${seconds}s'`;
  const where = select.where ? `(${select.where}) AND ${fresh}` : fresh;
  const page = await asking(client, { select: { ...select, where }, columns: [], sort: [] }, PAGE_ROWS, null, false).catch(() => null);
  return (page?.ids ?? []) as string[];
}
