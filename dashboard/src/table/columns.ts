/* Which columns a table has, what they are called and how wide they are. */
import type { RunColumn, RunOrder, UsualColumnsQuery } from "../api/gql";
import { type Column, formatColumn, isSame, type ShownColumn, type Sort, type View } from "../state/url";
import { remembering } from "./remembering";

export const ROW_PX = 28;
export const NAME_PX = 260;
const MEAN_PX = 136;
const DEFAULT_PARAMS = 8;
const DEFAULT_METRICS = 8;

export const NAME: Column = { area: "ATTRIBUTE", key: "name", stat: "LAST" };
export const STATUS: Column = { area: "ATTRIBUTE", key: "status", stat: "LAST" };

const ATTRIBUTES: Record<string, string> = {
  name: "Name",
  status: "Status",
  createdAt: "Started",
  finishedAt: "Ended",
  durationSeconds: "Duration",
  user: "By",
  group: "Group",
  experiment: "Experiment",
  id: "Id",
};

/** What every run has, for the picker. */
export const ATTRIBUTE_COLUMNS: readonly Column[] = Object.keys(ATTRIBUTES)
  .filter((key) => key !== "name")
  .map((key) => ({ area: "ATTRIBUTE", key, stat: "LAST" }));

/** What the head of a column says, without its statistic. */
export const label = ({ area, key }: Column): string => (area === "ATTRIBUTE" ? (ATTRIBUTES[key] ?? key) : key);

/** The statistic of a metric that is not simply the last value. */
export const statOf = ({ area, stat }: Column): string | null => (area === "METRIC" && stat !== "LAST" ? stat.toLowerCase() : null);

export const widthOf = (column: ShownColumn): number => column.width ?? usualWidth(column);

/** The column with room for a mean and its deviation, which need more than a value. */
export const roomForMean = (column: ShownColumn): ShownColumn =>
  column.area === "METRIC" ? { ...column, width: Math.max(MEAN_PX, widthOf(column)) } : column;

function usualWidth({ area, key }: Column): number {
  if (area === "ATTRIBUTE") {
    return key === "id" ? 280 : 104;
  }
  return Math.max(84, Math.min(200, key.length * 7 + 44));
}

export const shown = (column: Column): ShownColumn => ({ ...column, width: null });

/** The usual columns, by what the newest runs have: how it went, what it was told, what came out. */
export const usualColumns = remembering(({ runs: { nodes: runs } }: UsualColumnsQuery): readonly ShownColumn[] => {
  const attributes = (...keys: string[]) => keys.map((key): Column => ({ area: "ATTRIBUTE", key, stat: "LAST" }));
  const keys = (area: "PARAM" | "METRIC", found: string[], most: number) =>
    [...new Set(found)].slice(0, most).map((key): Column => ({ area, key, stat: "LAST" }));
  return [
    ...attributes("status", "createdAt", "durationSeconds"),
    ...keys("METRIC", runs.flatMap((run) => run.metrics.nodes.map(({ key }) => key)), DEFAULT_METRICS),
    ...keys("PARAM", runs.flatMap((run) => run.params.nodes.map(({ key }) => key)), DEFAULT_PARAMS),
    ...attributes("user"),
  ].map(shown);
});

/** The column as the server is asked for it. */
export const asked = ({ area, key, stat }: Column): RunColumn => ({ area, key, stat });

export const ordered = (sort: readonly Sort[]): RunOrder[] | null =>
  sort.length === 0 ? null : sort.map(({ area, key, stat, descending }) => ({ area, key, stat, descending }));

// --- Changes ---

/** Ascending, then descending, then not at all; alone, unless others are to be kept. */
export function sortedBy(sort: readonly Sort[], column: Column, keepOthers: boolean): Sort[] {
  const now = sort.find((one) => isSame(one, column));
  const others = keepOthers ? sort.filter((one) => !isSame(one, column)) : [];
  return now?.descending ? others : [...others, { ...column, descending: now !== undefined }];
}

type Columns = readonly ShownColumn[];
type Change = Pick<View, "cols" | "pin">;

const at = (columns: Columns, column: Column) => columns.findIndex((one) => isSame(one, column));

/** Shown where it was not, gone where it was. */
export function withToggled(columns: Columns, pin: number, column: Column): Change {
  const place = at(columns, column);
  return place === -1
    ? { cols: [...columns, shown(column)], pin }
    : { cols: columns.toSpliced(place, 1), pin: place < pin ? pin - 1 : pin };
}

/** Moved to the end of the pinned ones, or to the begin of the others. */
export function withPinToggled(columns: Columns, pin: number, column: Column): Change {
  const place = at(columns, column);
  const isPinned = place < pin;
  const rest = columns.toSpliced(place, 1);
  const end = isPinned ? pin - 1 : pin;
  return { cols: rest.toSpliced(end, 0, columns[place]!), pin: isPinned ? pin - 1 : pin + 1 };
}

/** Moved before or behind another, which decides whether it is pinned then. */
export function withMoved(columns: Columns, pin: number, column: Column, target: number): Change {
  const place = at(columns, column);
  const wasPinned = place < pin;
  const isPinned = target < pin;
  return {
    cols: columns.toSpliced(place, 1).toSpliced(target, 0, columns[place]!),
    pin: pin + Number(isPinned && !wasPinned) - Number(wasPinned && !isPinned),
  };
}

export function withWidth(columns: Columns, column: Column, width: number): Columns {
  const fitting = Math.round(Math.max(48, Math.min(1200, width)));
  return columns.map((one) => (isSame(one, column) ? { ...one, width: fitting } : one));
}

export function withStat(columns: Columns, column: Column, stat: Column["stat"]): Columns {
  const changed = { ...column, stat };
  return columns.filter((one) => isSame(one, column) || !isSame(one, changed)).map((one) => (isSame(one, column) ? { ...one, stat } : one));
}

export const keyOf = formatColumn;
