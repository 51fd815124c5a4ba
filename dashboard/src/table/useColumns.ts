import type { CombinedError } from "@urql/core";
import { useLayoutEffect, useState } from "react";
import { useClient } from "urql";
import { ask, known } from "../api/ahead";
import { type RunSelection, UsualColumnsDocument } from "../api/gql";
import type { ShownColumn, View } from "../state/url";
import { usualColumns } from "./columns";

interface Columns {
  /** null until they are known. */
  columns: readonly ShownColumn[] | null;
  error: CombinedError | null;
}

function knownColumns(base: RunSelection): Columns {
  const found = known(UsualColumnsDocument, { select: base });
  return { columns: found && usualColumns(found), error: null };
}

/** The columns that were chosen, else the usual ones of these runs. */
export function useColumns(base: RunSelection, chosen: View["cols"]): Columns {
  const client = useClient();
  const [usual, setUsual] = useState(() => knownColumns(base));
  const isChosen = chosen !== null;

  useLayoutEffect(() => {
    if (isChosen) {
      return;
    }
    let isStale = false;
    const show = (columns: Columns) => !isStale && setUsual(columns);
    ask(client, UsualColumnsDocument, { select: base }, "cache-first").then(
      (found) => show({ columns: usualColumns(found), error: null }),
      (error: CombinedError) => show({ columns: null, error }),
    );
    return () => {
      isStale = true;
    };
  }, [client, base, isChosen]);

  return isChosen ? { columns: chosen, error: null } : usual;
}
