/* The rows of the table of an address, asked for before there is a table. */
import type { Client } from "@urql/core";
import { askAhead } from "../api/ahead";
import { RunsTableDocument, UsualColumnsDocument } from "../api/gql";
import { baseOf, selectionOf } from "../state/scope";
import { parse } from "../state/url";
import { usualColumns } from "./columns";
import { FIRST_ROWS, variablesOf } from "./frame";

const TABLE = /^\/(?:compare|e\/([^/]+))$/;

/** Ask what the table of this address asks first. What fails is said by the table, which asks again. */
export async function askForRows(client: Client, { pathname, search }: Pick<Location, "pathname" | "search">): Promise<void> {
  const found = TABLE.exec(pathname);
  const { q, cols, sort, group } = parse(search);
  if (found === null || group.length > 0) {
    return;
  }
  const experiment = found[1] === undefined ? null : decodeURIComponent(found[1]);
  try {
    const columns = cols ?? usualColumns(await askAhead(client, UsualColumnsDocument, { select: baseOf(experiment) }));
    await askAhead(client, RunsTableDocument, variablesOf({ select: selectionOf(experiment, q), columns, sort }, FIRST_ROWS));
  } catch {
    return;
  }
}
