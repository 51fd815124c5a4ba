import { useEffect, useState } from "react";
import { useClient } from "urql";
import { said } from "../api/client";
import { ChartRunsDocument, LiveRunsDocument, type RunSelection, type RunStatus } from "../api/gql";
import { usePace } from "./usePace";

export interface ChartRun {
  id: string;
  name: string;
  status: RunStatus;
}

export interface ChartRuns {
  /** The newest 1,000. */
  runs: readonly ChartRun[];
  /** How many there are. */
  totalCount: number;
}

/** The runs of a selection, newest first, kept current; of null nothing. */
export function useRuns(select: RunSelection | null): { found: ChartRuns | null; problem: string | null } {
  const client = useClient();
  const [found, setFound] = useState<ChartRuns | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  const load = usePace(async () => {
    if (select === null) {
      return;
    }
    const { data, error } = await client.query(ChartRunsDocument, { select }, { requestPolicy: "network-only" });
    setProblem(error ? said(error) : null);
    if (data) {
      const { totalCount, ids, columns } = data.runFrame;
      const [names, statuses] = columns.map(({ cells }) => cells);
      const runs = ids.map((id, i) => ({ id, name: names![i], status: statuses![i] }) as ChartRun);
      setFound((before) => (isSame(before, { runs, totalCount }) ? before : { runs, totalCount }));
    }
  });

  useEffect(() => {
    if (select === null) {
      setFound(null);
      return;
    }
    load();
    // The first message says that the subscription has begun: what happened before is in what is read after it.
    const { unsubscribe } = client.subscription(LiveRunsDocument, { select }).subscribe(({ data }) => data && load());
    return unsubscribe;
  }, [client, select, load]);

  return { found, problem };
}

function isSame(before: ChartRuns | null, now: ChartRuns): boolean {
  return JSON.stringify(before) === JSON.stringify(now);
}
