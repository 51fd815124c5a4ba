import { useEffect } from "react";
import type { UseQueryExecute } from "urql";

const EVERY_MS = 3000;

/** Asks again and again for what still changes; rests while the page is not looked at. */
export function useRepeat(isChanging: boolean, again: UseQueryExecute): void {
  useEffect(() => {
    const asking = isChanging && setInterval(() => document.hidden || again({ requestPolicy: "network-only" }), EVERY_MS);
    return () => void (asking && clearInterval(asking));
  }, [isChanging, again]);
}
