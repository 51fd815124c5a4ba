import { type Column, isSame, type ShownColumn, type Stat, type View } from "../state/url";
import type { Update } from "../state/view";
import { keyOf, sortedBy, withMoved, withPinToggled, withStat, withToggled, withWidth } from "./columns";

export interface ColumnChanges {
  sort: (column: Column, keepOthers: boolean) => void;
  /** Show the column, or hide it. */
  toggle: (column: Column) => void;
  pin: (column: Column) => void;
  /** To the left or to the right. */
  move: (column: Column, by: -1 | 1) => void;
  /** Put the column of this key where the other one is. */
  drop: (key: string, onto: Column) => void;
  resize: (column: Column, width: number) => void;
  choose: (column: Column, stat: Stat) => void;
  /** Group by the column, or no longer. */
  group: (column: Column) => void;
}

/** What can be done with the columns of a table. While these are not known, which is null, only sorting and grouping do anything. */
export function useColumnChanges(columns: readonly ShownColumn[] | null, { pin }: View, update: Update): ColumnChanges {
  const known = columns ?? [];
  const placeOf = (column: Column) => known.findIndex((one) => isSame(one, column));
  function moveTo(column: Column, place: number): void {
    if (place >= 0 && place < known.length) {
      update(withMoved(known, pin, column, place));
    }
  }
  return {
    sort: (column, keepOthers) => update(({ sort }) => ({ sort: sortedBy(sort, column, keepOthers) })),
    toggle: (column) => columns && update(withToggled(columns, pin, column)),
    pin: (column) => columns && update(withPinToggled(columns, pin, column)),
    move: (column, by) => moveTo(column, placeOf(column) + by),
    drop(key, onto) {
      const dropped = known.find((one) => keyOf(one) === key);
      if (dropped) {
        moveTo(dropped, placeOf(onto));
      }
    },
    resize: (column, width) => update({ cols: withWidth(known, column, width) }, { replace: true }),
    choose: (column, stat) => update({ cols: withStat(known, column, stat) }),
    group: (column) =>
      update(({ group }) => ({ group: group.some((one) => isSame(one, column)) ? group.filter((one) => !isSame(one, column)) : [...group, column] })),
  };
}
