import { currentSearch, show, useSearch } from "./search";
import { EMPTY, format, keeping, parse, type Theme, type View } from "./url";

export type Change = Partial<View> | ((view: View) => Partial<View>);
/** Changes the view. `replace` is for what changes continuously, so that Back steps over it. */
export type Update = (change: Change, how?: { replace: boolean }) => void;

/** The address of a path with a view. */
export const addressOf = (path: string, view: View): string => path + queryOf(view);

function queryOf(view: View): string {
  const query = format(view);
  return query === "" ? "" : `?${query}`;
}

let latest = { search: "", view: EMPTY };

/** Read once for all that look at it. */
function viewOf(search: string): View {
  if (search !== latest.search) {
    latest = { search, view: keeping(latest.view, parse(search)) };
  }
  return latest.view;
}

/** The view of the address, and how to change it. */
export const useView = (): [View, Update] => [useSearch(viewOf), update];

/** The theme that the address asks for. */
export const useLinkedTheme = (): Theme | null => useSearch((search) => viewOf(search).theme);

/** Two changes in one tick both count. */
export const update: Update = (change, { replace } = { replace: false }) => {
  const now = parse(currentSearch());
  show(queryOf({ ...now, ...(typeof change === "function" ? change(now) : change) }), replace);
};
