import { useMemo } from "react";
import { type CombinedError, useQuery } from "urql";
import { RunGroupsDocument, type RunSelection } from "../api/gql";
import type { Column, Sort } from "../state/url";
import { asked } from "./columns";
import { asGroups, type Group, sortedGroups } from "./groups";

const METRICS_MAX = 100;

export interface Groups {
  groups: readonly Group[] | null;
  /** How many groups there are, of which these may be the first thousand. */
  total: number;
  runCount: number;
  error: CombinedError | null;
  reload: () => void;
}

export const groupVariables = (select: RunSelection, by: readonly Column[], columns: readonly Column[]) => ({
  select,
  by: by.map(asked),
  metrics: columns.filter(({ area }) => area === "METRIC").slice(0, METRICS_MAX).map(({ key, stat }) => ({ key, stat })),
  after: null,
});

/** The groups of the selected runs; nothing is asked where there is nothing to group by. */
export function useGroups(select: RunSelection, by: readonly Column[], columns: readonly Column[] | null, sort: readonly Sort[]): Groups {
  const [{ data, error }, ask] = useQuery({
    query: RunGroupsDocument,
    variables: groupVariables(select, by, columns ?? []),
    pause: by.length === 0 || columns === null,
    requestPolicy: "cache-and-network",
  });
  const found = useMemo(() => (data && by.length > 0 ? asGroups(data.groupRuns) : null), [data, by.length]);
  const groups = useMemo(() => found && sortedGroups(found, sort), [found, sort]);
  return {
    groups,
    total: data?.groupRuns.totalCount ?? 0,
    runCount: data?.groupRuns.runCount ?? 0,
    error: error ?? null,
    reload: () => ask({ requestPolicy: "network-only" }),
  };
}
