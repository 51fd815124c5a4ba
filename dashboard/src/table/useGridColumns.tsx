import { useMemo } from "react";
import { isSame, type ShownColumn, type Sort, type View } from "../state/url";
import type { Update } from "../state/view";
import { ColumnHead, ResizeHandle } from "./ColumnHead";
import { keyOf, NAME, NAME_PX, widthOf } from "./columns";
import { type Frame, isNumeric } from "./frame";
import type { GridColumn } from "./Grid";
import type { ColumnChanges } from "./useColumnChanges";
import styles from "./useGridColumns.module.css";

const NARROW_NAME_PX = 190;

interface Heads {
  /** How many of the first columns stay in sight, with that of the names. */
  pinned: number;
  columns: readonly GridColumn[];
}

/** The columns as the grid has them: the names, and those that are `shown` of all. */
export function useGridColumns(
  shown: readonly ShownColumn[],
  all: readonly ShownColumn[] | null,
  frame: Frame | null,
  view: View,
  update: Update,
  changes: ColumnChanges,
): Heads {
  const { sort, pin, rest } = view;
  const isGrouped = view.group.length > 0;
  return useMemo(() => {
    const isPinned = (column: ShownColumn) => (all ?? []).slice(0, pin).some((one) => isSame(one, column));
    return { pinned: 1 + shown.filter(isPinned).length, columns: [nameColumn(), ...shown.map(gridColumn)] };

    function nameColumn(): GridColumn {
      const sorted = sortedBy(sort, NAME);
      const width = nameWidth(rest);
      return {
        key: "name",
        width,
        isNumeric: false,
        sorted,
        header: (
          <div className={styles.name}>
            <button type="button" tabIndex={-1} className="plain" onClick={(event) => changes.sort(NAME, event.shiftKey)}>
              {isGrouped ? "Group" : "Name"} {sorted && <span aria-hidden="true">{sorted === "descending" ? "▼" : "▲"}</span>}
            </button>
            <ResizeHandle width={width} onWidth={(to) => update(({ rest }) => ({ rest: withNameWidth(rest, to) }), { replace: true })} />
          </div>
        ),
      };
    }

    function gridColumn(column: ShownColumn): GridColumn {
      return {
        key: keyOf(column),
        width: widthOf(column),
        isNumeric: column.area === "METRIC" || (frame !== null && isNumeric(frame, column)),
        sorted: sortedBy(sort, column),
        header: <ColumnHead column={column} isPinned={isPinned(column)} sort={sort} changes={changes} />,
      };
    }
    // `changes` are new each time, but do the same as long as these are.
  }, [shown, all, frame, sort, pin, rest, isGrouped, update]);
}

function sortedBy(sort: readonly Sort[], column: ShownColumn | typeof NAME): GridColumn["sorted"] {
  const found = sort.find((one) => isSame(one, column));
  return found === undefined ? null : found.descending ? "descending" : "ascending";
}

// --- The width of the names, a key of the address of its own ---

const NAME_WIDTH = "nw";

function nameWidth(rest: View["rest"]): number {
  const given = Number(rest.find(([name]) => name === NAME_WIDTH)?.[1]);
  return given >= 80 && given <= 1200 ? given : innerWidth < 600 ? NARROW_NAME_PX : NAME_PX;
}

const withNameWidth = (rest: View["rest"], width: number): View["rest"] => [
  ...rest.filter(([name]) => name !== NAME_WIDTH),
  [NAME_WIDTH, String(Math.round(width))],
];
