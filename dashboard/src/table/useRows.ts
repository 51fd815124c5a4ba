import type { CombinedError } from "@urql/core";
import { useMemo, useState } from "react";
import type { RunSelection } from "../api/gql";
import type { ShownColumn, View } from "../state/url";
import type { Frame } from "./frame";
import { groupRows, idsOf, type Row, runRows } from "./rows";
import { type Loaded, useFrame } from "./useFrame";
import { type Groups, useGroups } from "./useGroups";

const MEMBERS_MAX = 1000;

export interface Rows {
  rows: readonly Row[];
  /** What the runs among the rows have. */
  frame: Frame | null;
  /** How many runs the selection has, also of those that are not loaded; null while that is not known. */
  total: number | null;
  runs: Loaded;
  /** null where runs are not grouped. */
  groups: Groups | null;
  error: CombinedError | null;
  /** The groups whose members are shown. */
  open: ReadonlySet<string>;
  /** Show the members of a group, or hide them. */
  fold: (group: string) => void;
  /** The same for all groups at once. */
  foldAll: () => void;
}

/** The rows of a table: the selected runs, or where these are grouped the groups and the members of those that are open. */
export function useRows(select: RunSelection, columns: readonly ShownColumn[] | null, { group: by, sort }: View): Rows {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const isGrouped = by.length > 0;
  const groups = useGroups(select, by, columns, sort);
  const memberIds = useMemo(
    () => groupRows(groups.groups ?? [], open, null).flatMap((row) => (row.kind === "group" && row.isOpen ? idsOf(row) : [])).slice(0, MEMBERS_MAX),
    [groups.groups, open],
  );
  const wanted = useMemo(() => {
    if (columns === null || (isGrouped && memberIds.length === 0)) {
      return null;
    }
    return { select: isGrouped ? { ...select, runIds: memberIds } : select, columns, sort };
  }, [select, columns, sort, isGrouped, memberIds]);
  const runs = useFrame(wanted);
  const { frame } = runs;
  const rows = useMemo(() => (isGrouped ? groupRows(groups.groups ?? [], open, frame) : runRows(frame)), [isGrouped, groups.groups, open, frame]);

  function fold(group: string): void {
    setOpen((before) => {
      const after = new Set(before);
      if (!after.delete(group)) {
        after.add(group);
      }
      return after;
    });
  }

  return {
    rows,
    frame,
    total: isGrouped ? groups.runCount : (frame?.total ?? null),
    runs,
    groups: isGrouped ? groups : null,
    error: groups.error ?? runs.error,
    open,
    fold,
    foldAll: () => setOpen(open.size > 0 ? new Set() : new Set(rows.map(({ id }) => id))),
  };
}
