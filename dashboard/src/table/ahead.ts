/* The rows of the table of an address, asked for before there is a table. */
import { askAhead } from "../api/ahead";
import { RunsTableDocument, UsualColumnsDocument } from "../api/gql";
import { baseOf, selectionOf } from "../state/scope";
import { parse, type ShownColumn } from "../state/url";
import { usualColumns } from "./columns";
import { FIRST_ROWS, variablesOf } from "./frame";

const TABLE = /^\/(?:compare|e\/([^/]+))$/;

/** Ask what the table of this address asks first. */
export async function askForRows(token: string, { pathname, search }: Pick<Location, "pathname" | "search">): Promise<void> {
  const found = TABLE.exec(pathname);
  const { q, cols, sort, group } = parse(search);
  if (found === null || group.length > 0) {
    return;
  }
  const experiment = found[1] === undefined ? null : decodeURIComponent(found[1]);
  const columns = cols ?? (await usualAhead(token, experiment));
  if (columns !== null) {
    await askAhead(token, RunsTableDocument, variablesOf({ select: selectionOf(experiment, q), columns, sort }, FIRST_ROWS));
  }
}

async function usualAhead(token: string, experiment: string | null): Promise<readonly ShownColumn[] | null> {
  const found = await askAhead(token, UsualColumnsDocument, { select: baseOf(experiment) });
  return found && usualColumns(found);
}
