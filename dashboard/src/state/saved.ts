/* What is saved of a view is its query, with the tab in which it was seen. */
import { pathOf } from "./scope";
import { parse, type View } from "./url";
import { addressOf } from "./view";

export type Tab = "" | "charts" | "diff";
const TAB = "tab";

/** What is saved: without the `?`. */
export function searchOf(view: View, tab: Tab): string {
  const saved = tab === "" ? view : { ...view, rest: [...view.rest, [TAB, tab] as const] };
  return addressOf("", saved).slice(1);
}

/** Where a saved view is seen. */
export function addressOfSaved(experiment: string | null, search: string): string {
  const view = parse(search);
  const tab = view.rest.find(([name]) => name === TAB)?.[1];
  const rest = view.rest.filter(([name]) => name !== TAB);
  return addressOf(pathOf(experiment, tab === "charts" || tab === "diff" ? tab : ""), { ...view, rest });
}
