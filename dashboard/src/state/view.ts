import { useCallback } from "react";
import { useLocation, useSearch } from "wouter";
import { EMPTY, format, keeping, parse, type View } from "./url";

export type Change = Partial<View> | ((view: View) => Partial<View>);
/** Changes the view. `replace` is for what changes continuously, so that Back steps over it. */
export type Update = (change: Change, how?: { replace: boolean }) => void;

/** The address of a path with a view. */
export function addressOf(path: string, view: View): string {
  const query = format(view);
  return query === "" ? path : `${path}?${query}`;
}

let latest = { search: "", view: EMPTY };

/** Read once for all that look at it. */
function viewOf(search: string): View {
  if (search !== latest.search) {
    latest = { search, view: keeping(latest.view, parse(search)) };
  }
  return latest.view;
}

/** The view of the address bar, and how to change it. */
export function useView(): [View, Update] {
  const view = viewOf(useSearch());
  const [path, navigate] = useLocation();
  const update = useCallback<Update>(
    (change, how = { replace: false }) => {
      const now = parse(location.search); // two changes in one tick both count
      navigate(addressOf(path, { ...now, ...(typeof change === "function" ? change(now) : change) }), how);
    },
    [path, navigate],
  );
  return [view, update];
}
