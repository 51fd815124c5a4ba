import { useEffect, useRef } from "react";
import { useClient } from "urql";
import { LivePointsDocument, LiveRunsDocument, type RunSelection } from "../api/gql";

/** What is shown changes at most so often. */
const PAUSE_MS = 1000;
const SUBSCRIBED_MAX = 100; // runs, and metrics, of one subscription
const ASKED_MAX = 1000; // runs of one request

/**
 * Tells of runs that changed: by events, and while some are `running`, by new points of the metrics that are shown.
 * `onBegin` is called when it begins to tell, for what happened just before.
 */
export function useLiveRuns(
  base: RunSelection,
  running: readonly string[],
  metrics: readonly string[],
  onChange: (ids: string[]) => Promise<void>,
  onBegin: () => void,
): void {
  const client = useClient();
  const tell = useRef({ onChange, onBegin });
  tell.current = { onChange, onBegin };
  const changed = useRef(new Set<string>());
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);

  function note(id: string): void {
    changed.current.add(id);
    timer.current ??= setTimeout(() => void send(), PAUSE_MS);
  }

  async function send(): Promise<void> {
    const ids = [...changed.current].slice(0, ASKED_MAX);
    ids.forEach((id) => changed.current.delete(id));
    await tell.current.onChange(ids);
    timer.current = changed.current.size > 0 ? setTimeout(() => void send(), PAUSE_MS) : null;
  }

  const select = JSON.stringify(base);
  useEffect(() => {
    const { unsubscribe } = client.subscription(LiveRunsDocument, { select: JSON.parse(select) as RunSelection }).subscribe(({ data }) => {
      if (data?.runEvents.kind === "SUBSCRIBED") {
        tell.current.onBegin();
      } else if (data?.runEvents.runId) {
        note(data.runEvents.runId);
      }
    });
    return unsubscribe;
  }, [client, select]);

  const followed = JSON.stringify({ runIds: running.slice(0, SUBSCRIBED_MAX), keys: metrics.slice(0, SUBSCRIBED_MAX) });
  useEffect(() => {
    const variables = JSON.parse(followed) as { runIds: string[]; keys: string[] };
    if (variables.runIds.length === 0 || variables.keys.length === 0) {
      return;
    }
    const { unsubscribe } = client.subscription(LivePointsDocument, variables).subscribe(({ data }) => {
      if (data?.points.runId) {
        note(data.points.runId);
      }
    });
    return unsubscribe;
  }, [client, followed]);

  useEffect(
    () => () => {
      if (timer.current !== null) {
        clearTimeout(timer.current);
        timer.current = null;
      }
    },
    [],
  );
}
