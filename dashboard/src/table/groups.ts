/* Runs in groups that have the same values: what the server answers, and how its cells are written. */
import type { RunGroupsQuery } from "../api/gql";
import type { Column, Sort } from "../state/url";
import { keyOf } from "./columns";
import { ABSENT, brief, decimal, result } from "./format";

type Answer = RunGroupsQuery["groupRuns"];

export interface Summary {
  count: number;
  mean: unknown;
  deviation: unknown;
  min: unknown;
  max: unknown;
}

export interface Group {
  /** Of what it is grouped by, by what `keyOf` says of the column. */
  values: ReadonlyMap<string, unknown>;
  summaries: ReadonlyMap<string, Summary>;
  runCount: number;
  runIds: readonly string[];
}

export function asGroups({ keys, columns, runCounts, runIds }: Answer): Group[] {
  const keyOfGiven = ({ area, key, stat }: { area: Column["area"]; key: string; stat: Column["stat"] | null }) => keyOf({ area, key, stat: stat ?? "LAST" });
  return (runCounts as number[]).map((runCount, at) => ({
    runCount,
    runIds: runIds[at] as string[],
    values: new Map(keys.map((column) => [keyOfGiven(column), column.cells[at]])),
    summaries: new Map(
      columns.map((column) => [
        keyOf({ area: "METRIC", key: column.key, stat: column.stat }),
        { count: column.count[at] as number, mean: column.mean[at], deviation: column.standardDeviation[at], min: column.min[at], max: column.max[at] },
      ]),
    ),
  }));
}

/** `resnet50, depth 4`: texts speak for themselves; runs without a value are the group "(none)". */
export function nameOf(group: Group, by: readonly Column[]): string {
  return by.map((column) => (typeof group.values.get(keyOf(column)) === "string" ? valueOf(group, column) : `${column.key} ${valueOf(group, column)}`)).join(", ");
}

export function valueOf(group: Group, column: Column): string {
  const value = group.values.get(keyOf(column));
  return value === null || value === undefined ? "(none)" : brief(column, value, Date.now());
}

/** `0.2131 ± 0.004`; a single value has no deviation. */
export function meanOf({ count, mean, deviation }: Summary): string {
  if (mean === null || mean === undefined) {
    return ABSENT;
  }
  const middle = typeof mean === "number" ? result(mean) : String(mean);
  return typeof deviation === "number" && count > 1 ? `${middle} ± ${deviated(deviation)}` : middle;
}

/** To two digits, both written. */
const deviated = (value: number): string => (value >= 1e-4 && value < 100 ? value.toPrecision(2) : decimal(Number(value.toPrecision(2))));

/** The groups by what they are sorted by, means for metrics; those without a value last. */
export function sortedGroups(groups: readonly Group[], sort: readonly Sort[]): readonly Group[] {
  const valued = (group: Group, column: Column) => group.summaries.get(keyOf(column))?.mean ?? group.values.get(keyOf(column)) ?? null;
  return sort.reduceRight(
    (sorted, { descending, ...column }) => sorted.toSorted((one, other) => compared(valued(one, column), valued(other, column), descending)),
    groups,
  );
}

function compared(one: unknown, other: unknown, descending: boolean): number {
  if (one === null || other === null) {
    return Number(one === null) - Number(other === null);
  }
  const order = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
  return descending ? -order : order;
}
