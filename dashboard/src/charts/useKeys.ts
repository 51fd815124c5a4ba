import { useEffect, useState } from "react";
import { useClient } from "urql";
import { ChartKeysDocument, type RunKeyKind, type RunSelection } from "../api/gql";

const PAGES_MAX = 10; // of 500

export interface Keys {
  metrics: readonly string[];
  params: readonly string[];
  tags: readonly string[];
}

/** The keys that the runs have, in alphabetical order, at most 5,000; read again when `version` changes. */
export function useKeys(select: RunSelection, version: unknown): Keys | null {
  const client = useClient();
  const [keys, setKeys] = useState<Keys | null>(null);

  useEffect(() => {
    let isOver = false;
    async function load(): Promise<void> {
      const found: Record<string, string[]> = { METRIC: [], PARAM: [], TAG: [] };
      let after: string | null = null;
      for (let page = 0; page < PAGES_MAX; page += 1) {
        const variables: { select: RunSelection; kinds: RunKeyKind[]; after: string | null } = { select, kinds: ["METRIC", "PARAM", "TAG"], after };
        const { data } = await client.query(ChartKeysDocument, variables, { requestPolicy: "network-only" });
        for (const { kind, key } of data?.runKeys.nodes ?? []) {
          found[kind]!.push(key);
        }
        after = data?.runKeys.pageInfo.endCursor ?? null;
        if (isOver || !data?.runKeys.pageInfo.hasNextPage) {
          break;
        }
      }
      if (!isOver) {
        setKeys({ metrics: found["METRIC"]!, params: found["PARAM"]!, tags: found["TAG"]! });
      }
    }
    void load();
    return () => {
      isOver = true;
    };
  }, [client, select, version]);

  return keys;
}
