import type { Update } from "../state/view";
import type { View } from "../state/url";

/** What a key of the address says that only one page knows; null when it is not there. */
export function own(view: View, name: string): string | null {
  return view.rest.find(([key]) => key === name)?.[1] ?? null;
}

/** Change such keys; null takes one out. */
export function setOwn(update: Update, changes: Readonly<Record<string, string | null>>, how = { replace: false }): void {
  update(({ rest }) => {
    const kept = rest.filter(([key]) => !Object.hasOwn(changes, key));
    const added = Object.entries(changes).filter((pair): pair is [string, string] => pair[1] !== null);
    return { rest: [...kept, ...added] };
  }, how);
}
