import { useMemo, useRef } from "react";
import { useQuery } from "urql";
import { ColumnPickerDocument, type RunSelection } from "../api/gql";
import type { Column } from "../state/url";

/** What a column can be, and what is known of it over the whole selection. */
export interface Key extends Column {
  /** null is not known. */
  distinct: number | null;
  differs: boolean;
}

export interface Keys {
  keys: readonly Key[] | null;
  /** How many there are, also of those that are not listed. */
  total: number;
}

/** The keys of the selected runs, asked for from when there first is reason to. */
export function useKeys(select: RunSelection, isWanted: boolean): Keys {
  const wasWanted = useRef(false);
  wasWanted.current ||= isWanted;
  const [{ data }] = useQuery({ query: ColumnPickerDocument, variables: { select, search: "" }, pause: !wasWanted.current });
  return useMemo(() => {
    const nodes = data?.runKeys.nodes.filter(({ kind }) => kind !== "DATASET");
    const keys = nodes?.map(({ kind, key, distinctCount, differs }): Key => ({ area: kind, key, stat: "LAST", distinct: distinctCount, differs }));
    return { keys: keys ?? null, total: data?.runKeys.pageInfo.hasNextPage ? data.runKeys.totalCount : (keys?.length ?? 0) };
  }, [data]);
}
