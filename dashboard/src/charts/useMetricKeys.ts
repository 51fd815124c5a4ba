import { useEffect, useState } from "react";
import { type Client, useClient } from "urql";
import { MetricKeysDocument, type RunSelection } from "../api/gql";

const PAGES_MAX = 10; // of 500

const LOOK_AGAIN_MS = 3000;

/**
 * The metrics that the runs have, in alphabetical order, at most 5,000. They are read again when `version` changes, and
 * while runs go on every few seconds, because no event tells of a new one.
 */
export function useMetricKeys(select: RunSelection, version: unknown, isLive: boolean): readonly string[] | null {
  const client = useClient();
  const [keys, setKeys] = useState<readonly string[] | null>(null);

  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout>;
    async function load(): Promise<void> {
      const found = await metricKeys(client, select);
      if (isOver) {
        return;
      }
      setKeys((before) => (before?.join("\0") === found.join("\0") ? before : found));
      if (isLive) {
        timer = setTimeout(() => void load(), LOOK_AGAIN_MS);
      }
    }
    void load();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [client, select, version, isLive]);

  return keys;
}

async function metricKeys(client: Client, select: RunSelection): Promise<string[]> {
  const found: string[] = [];
  let after: string | null = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const variables: { select: RunSelection; after: string | null } = { select, after };
    const { data } = await client.query(MetricKeysDocument, variables, { requestPolicy: "network-only" });
    found.push(...(data?.runKeys.nodes ?? []).map(({ key }) => key));
    after = data?.runKeys.pageInfo.endCursor ?? null;
    if (!data?.runKeys.pageInfo.hasNextPage) {
      break;
    }
  }
  return found;
}
