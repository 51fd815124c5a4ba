import { useEffect, useState } from "react";
import { useClient } from "urql";
import { MetricKeysDocument, type RunSelection } from "../api/gql";

const PAGES_MAX = 10; // of 500

/** The metrics that the runs have, in alphabetical order, at most 5,000; read again when `version` changes. */
export function useMetricKeys(select: RunSelection, version: unknown): readonly string[] | null {
  const client = useClient();
  const [keys, setKeys] = useState<readonly string[] | null>(null);

  useEffect(() => {
    let isOver = false;
    async function load(): Promise<void> {
      const found: string[] = [];
      let after: string | null = null;
      for (let page = 0; page < PAGES_MAX; page += 1) {
        const variables: { select: RunSelection; after: string | null } = { select, after };
        const { data } = await client.query(MetricKeysDocument, variables, { requestPolicy: "network-only" });
        found.push(...(data?.runKeys.nodes ?? []).map(({ key }) => key));
        after = data?.runKeys.pageInfo.endCursor ?? null;
        if (isOver || !data?.runKeys.pageInfo.hasNextPage) {
          break;
        }
      }
      if (!isOver) {
        setKeys(found);
      }
    }
    void load();
    return () => {
      isOver = true;
    };
  }, [client, select, version]);

  return keys;
}
