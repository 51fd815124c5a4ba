import { useEffect } from "react";
import { useClient } from "urql";
import { LivePointsDocument } from "../api/gql";

const RUNS_MAX = 100; // of a subscription
const SUBSCRIPTIONS_MAX = 6; // of the ten of a socket, which the page needs for runs too
const KEYS_MAX = 100;

/** Of how many runs new points are noticed. */
export const FOLLOWED_MAX = RUNS_MAX * SUBSCRIPTIONS_MAX;

/** Calls `onNews` when the first `FOLLOWED_MAX` runs have new points of these metrics, and once it listens. */
export function useFreshPoints(runIds: readonly string[], keys: readonly string[], onNews: () => void): void {
  const client = useClient();
  const followed = runIds.slice(0, FOLLOWED_MAX).join();
  const wanted = JSON.stringify(keys.slice(0, KEYS_MAX));

  useEffect(() => {
    if (followed === "" || wanted === "[]") {
      return;
    }
    const runs = followed.split(",");
    const subscriptions = Array.from({ length: Math.ceil(runs.length / RUNS_MAX) }, (_, part) => {
      const variables = { runIds: runs.slice(part * RUNS_MAX, (part + 1) * RUNS_MAX), keys: JSON.parse(wanted) as string[] };
      return client.subscription(LivePointsDocument, variables).subscribe(({ data }) => data && onNews());
    });
    return () => subscriptions.forEach(({ unsubscribe }) => unsubscribe());
  }, [client, followed, wanted, onNews]);
}
