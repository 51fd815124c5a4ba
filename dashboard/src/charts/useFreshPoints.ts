import { useEffect } from "react";
import { useClient } from "urql";
import { LivePointsDocument } from "../api/gql";

const RUNS_MAX = 100;
const KEYS_MAX = 100;

/** Calls `onNews` when runs have new points of these metrics, and once it listens. At most 100 runs are followed. */
export function useFreshPoints(runIds: readonly string[], keys: readonly string[], onNews: () => void): void {
  const client = useClient();
  const followed = runIds.slice(0, RUNS_MAX).join();
  const wanted = JSON.stringify(keys.slice(0, KEYS_MAX));

  useEffect(() => {
    if (followed === "" || wanted === "[]") {
      return;
    }
    const variables = { runIds: followed.split(","), keys: JSON.parse(wanted) as string[] };
    const { unsubscribe } = client.subscription(LivePointsDocument, variables).subscribe(({ data }) => data && onNews());
    return unsubscribe;
  }, [client, followed, wanted, onNews]);
}
