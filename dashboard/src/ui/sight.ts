/* Which part of a table is in sight: its rows are all of one height, its columns of any width. */

/** Indexes from the first to before the last. */
export interface Span {
  from: number;
  to: number;
}

/** How far a table is scrolled, and how much of it there is room for. */
export type View = Pick<HTMLElement, "scrollTop" | "scrollLeft" | "clientWidth" | "clientHeight">;

/** The rows of a table, the first of which in sight are covered by its head. */
export interface Rows {
  count: number;
  height: number;
  headHeight: number;
}

const ROWS_AROUND = 6;
const COLUMNS_AROUND = 1;
const CELLS_MAX = 1000;

/** The rows in sight and some around them, which are there already when they come into sight. */
export function rowsIn({ scrollTop, clientHeight }: View, { count, height, headHeight }: Rows): Span {
  const room = clientHeight - headHeight;
  const top = scrolledAtMost(scrollTop, count * height, room);
  return around(Math.floor(top / height), Math.ceil((top + room) / height), ROWS_AROUND, count);
}

/**
 * The columns in sight and those beside them. `edges` are where each of them begins and where the last one ends; the
 * first begins where those end that are always in sight.
 */
export function columnsIn({ scrollLeft, clientWidth }: View, edges: readonly number[]): Span {
  const count = edges.length - 1;
  const left = scrolledAtMost(scrollLeft, edges[count]!, clientWidth);
  const first = edges.findLastIndex((edge) => edge <= left + edges[0]!);
  const end = edges.findIndex((edge) => edge >= left + clientWidth);
  return around(first, end === -1 ? count : end, COLUMNS_AROUND, count);
}

/**
 * The columns that these rows are drawn with: all where that makes few cells, for then a column that comes into sight,
 * which changes every row, costs more than one that is there; otherwise `columnsIn`.
 */
export function columnsOf(rows: Span, view: View, edges: readonly number[]): Span {
  const count = edges.length - 1;
  return count * (rows.to - rows.from) <= CELLS_MAX ? { from: 0, to: count } : columnsIn(view, edges);
}

/** Where a table that became smaller is scrolled to, which the browser says only later. */
const scrolledAtMost = (scrolled: number, size: number, room: number): number => Math.max(0, Math.min(scrolled, size - room));

function around(first: number, end: number, more: number, count: number): Span {
  const to = Math.max(0, Math.min(count, end + more));
  return { from: Math.max(0, Math.min(to, first - more)), to };
}

/** Where columns of these widths begin behind `start`, and where the last one ends. */
export function edgesOf(start: number, widths: Iterable<number>): number[] {
  const edges = [start];
  for (const width of widths) {
    edges.push(edges.at(-1)! + width);
  }
  return edges;
}

/** All the indexes of a span. */
export const indexesOf = ({ from, to }: Span): number[] => Array.from({ length: to - from }, (_, at) => from + at);

/** How far to scroll so that all from `start` to `end` is in sight behind what is `covered`: as little as that takes. */
export function revealing(scrolled: number, start: number, end: number, covered: number, size: number): number {
  return Math.min(start - covered, Math.max(scrolled, end - size));
}
