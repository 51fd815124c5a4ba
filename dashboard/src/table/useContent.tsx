import { useCallback, useEffect, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { paletteOf } from "../charts/palette";
import type { Column, ShownColumn } from "../state/url";
import { useTheme } from "../state/theme";
import { keyOf } from "./columns";
import type { Content } from "./Grid";
import { NameCell, ofGroup, ofRun } from "./rows";
import type { Rows } from "./useRows";
import type { SelectedRows } from "./useSelectedRows";

const MINUTE_MS = 60_000;

/** What stands in each cell of the grid; the names are its first column. */
export function useContent({ rows, frame, fold }: Rows, shown: readonly ShownColumn[], by: readonly Column[], selected: SelectedRows) {
  const palette = paletteOf(useTheme());
  const [, navigate] = useLocation();
  const now = useNow();
  const cells = useMemo(() => shown.map((column) => frame?.cells.get(keyOf(column))), [shown, frame]);
  return useCallback(
    (at: number, columnAt: number): Content => {
      const row = rows[at]!;
      const column = shown[columnAt - 1];
      if (column !== undefined) {
        return row.kind === "run" ? ofRun(cells[columnAt - 1], row, column, now) : ofGroup(row, column, by);
      }
      const name = (
        <NameCell
          frame={frame}
          row={row}
          by={by}
          slot={row.kind === "run" ? (selected.places.get(row.id) ?? null) : null}
          isSelected={selected.isSelected(at)}
          palette={palette}
          onToggle={(extend) => (extend ? selected.extendTo(at) : selected.toggle(at))}
          onOpen={() => navigate(`/r/${row.id}`)}
          onFold={() => fold(row.id)}
        />
      );
      return { shown: name };
    },
    // What `selected`, `navigate` and `fold` do depends on no more than this.
    [rows, shown, cells, frame, selected.places, palette, by, now],
  );
}

/** The time, once a minute, for what says "3 min ago". */
function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), MINUTE_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}
