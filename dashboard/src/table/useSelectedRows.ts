import { useMemo, useRef } from "react";
import { extended, slots, without } from "../state/selection";
import type { View } from "../state/url";
import type { Update } from "../state/view";
import { idsOf, type Row } from "./rows";

export interface SelectedRows {
  /** The place of each selected run in the selection, which gives it its colour. */
  places: ReadonlyMap<string, number>;
  isSelected: (row: number) => boolean;
  toggle: (row: number) => void;
  /** Select all from one to the other, both included. */
  extend: (from: number, to: number) => void;
  /** Select all from the one that was toggled last. */
  extendTo: (row: number) => void;
}

/** Which rows are selected, and how to select them; a group is when all of its runs are. */
export function useSelectedRows(rows: readonly Row[], sel: View["sel"], update: Update): SelectedRows {
  const places = useMemo(() => slots(sel), [sel]);
  const anchor = useRef(0);

  function toggle(row: number): void {
    anchor.current = row;
    const ids = idsOf(rows[row]!);
    update(({ sel }) => ({ sel: ids.every((id) => sel.includes(id)) ? without(sel, ids) : extended(sel, ids) }), { replace: true });
  }

  function extend(from: number, to: number): void {
    const between = rows.slice(Math.min(from, to), Math.max(from, to) + 1).flatMap(idsOf);
    update(({ sel }) => ({ sel: extended(sel, between) }), { replace: true });
  }

  return {
    places,
    isSelected: (row) => idsOf(rows[row]!).every((id) => places.has(id)),
    toggle,
    extend,
    extendTo: (row) => extend(anchor.current, row),
  };
}
