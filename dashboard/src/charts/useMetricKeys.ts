import { useEffect, useState } from "react";
import { type Client, useClient } from "urql";
import { MetricKeysDocument, type RunSelection } from "../api/gql";

const PAGES_MAX = 20; // of 500
const LOOK_AGAIN_MS = 3000;

interface MetricKeys {
  keys: readonly string[];
  /** Whether there are no others. */
  areAll: boolean;
  /** Whether others are on their way. */
  isReading: boolean;
}

/**
 * The metrics that the runs have, in alphabetical order, at most 10,000; null until the first 500 are known. They are read
 * again when `version` changes, and while runs go on every few seconds, because no event tells of a new one.
 */
export function useMetricKeys(select: RunSelection, version: unknown, isLive: boolean): MetricKeys | null {
  const client = useClient();
  const [known, setKnown] = useState<MetricKeys | null>(null);

  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout>;
    async function load(): Promise<void> {
      const found = await metricKeys(client, select, (first) => isOver || setKnown((before) => before ?? first));
      if (isOver) {
        return;
      }
      setKnown((before) => (before?.areAll === found.areAll && !before.isReading && before.keys.join("\0") === found.keys.join("\0") ? before : found));
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

  return known;
}

async function metricKeys(client: Client, select: RunSelection, onFirst: (first: MetricKeys) => void): Promise<MetricKeys> {
  const keys: string[] = [];
  let after: string | null = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const variables: { select: RunSelection; after: string | null } = { select, after };
    const { data } = await client.query(MetricKeysDocument, variables, { requestPolicy: "network-only" });
    keys.push(...(data?.runKeys.nodes ?? []).map(({ key }) => key));
    after = data?.runKeys.pageInfo.endCursor ?? null;
    if (!data?.runKeys.pageInfo.hasNextPage) {
      return { keys, areAll: true, isReading: false };
    }
    if (page === 0) {
      onFirst({ keys: [...keys], areAll: false, isReading: true });
    }
  }
  return { keys, areAll: false, isReading: false };
}
