/*
 * The query of the page. It is ahead of the address bar until a change has been drawn: to write there takes the browser
 * longer than most changes take to draw, and it would do so first.
 */
import { useSyncExternalStore } from "react";

interface Ahead {
  search: string;
  replace: boolean;
}

const OTHERS = ["popstate", "pushState", "replaceState"]; // the last two are the router's
let ahead: Ahead | null = null;
const watchers = new Set<() => void>();

/** As it is shown: empty, or with its `?`. */
export const currentSearch = (): string => ahead?.search ?? location.search;

/** What of it is read, each time that this becomes another. */
export const useSearch = <T>(read: (search: string) => T): T => useSyncExternalStore(watch, () => read(currentSearch()));

/** Show another query of this path; `replace` takes the place of the one before it in the history. */
export function show(search: string, replace: boolean): void {
  if (ahead && !replace) {
    write();
  }
  const isWaiting = ahead !== null;
  ahead = { search, replace: ahead ? ahead.replace : replace };
  tell();
  if (document.hidden) {
    write(); // where nothing is drawn
  } else if (!isWaiting) {
    requestAnimationFrame(() => setTimeout(write));
  }
}

/** Put into the address bar what is shown; nothing when it is there. */
export function write(): void {
  if (ahead) {
    const { search, replace } = ahead;
    history[replace ? "replaceState" : "pushState"](null, "", location.pathname + search);
  }
}

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  if (watchers.size === 1) {
    OTHERS.forEach((type) => addEventListener(type, settle, { capture: true })); // before the router shows another page
  }
  return () => watchers.delete(watcher);
}

function tell(): void {
  watchers.forEach((watcher) => watcher());
}

/** What the address bar says holds again: what was shown has been written there, or left for another address. */
function settle(): void {
  ahead = null;
  tell();
}
