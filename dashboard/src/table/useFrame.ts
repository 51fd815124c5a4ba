import type { CombinedError } from "@urql/core";
import { useCallback, useLayoutEffect, useRef, useState } from "react";
import { useClient } from "urql";
import { type Asked, current, firstRows, type Frame, pages, updated } from "./frame";

export interface Loaded {
  /** What is there; while another is asked for, the one before it. */
  frame: Frame | null;
  error: CombinedError | null;
  isLoading: boolean;
  /** Runs that came while the table was open; they are on top until it is sorted again. */
  fresh: number;
  /** Ask for everything again. */
  reload: () => void;
  /** Ask for these runs again. */
  refresh: (ids: readonly string[]) => Promise<void>;
}

const NOTHING = { frame: null, error: null, isLoading: true, fresh: 0 };

/** Behind the next paint; that of a hidden tab is when it is shown. */
const painted = (): Promise<void> => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

/** The frame of what is asked, as far as it is there. null asks nothing. */
export function useFrame(wanted: Asked | null): Loaded {
  const client = useClient();
  const [state, setState] = useState<Omit<Loaded, "reload" | "refresh">>(() => ({ ...NOTHING, frame: wanted && firstRows(wanted) }));
  const [round, setRound] = useState(0);
  const key = wanted && JSON.stringify(wanted);
  const latest = useRef(wanted);
  latest.current = wanted;

  // Before the first paint, for what was asked ahead and is there.
  useLayoutEffect(() => {
    if (key === null) {
      return;
    }
    let isStale = false;
    async function load(): Promise<void> {
      setState((before) => (before.isLoading ? before : { ...before, isLoading: true }));
      try {
        for await (const frame of pages(client, JSON.parse(key!) as Asked)) {
          if (isStale) {
            return;
          }
          setState({ frame, error: null, isLoading: true, fresh: 0 });
          await painted(); // before more is asked, which would take the processor from it
        }
        setState((before) => ({ ...before, isLoading: isStale && before.isLoading }));
      } catch (error) {
        if (!isStale) {
          setState({ ...NOTHING, error: error as CombinedError, isLoading: false });
        }
      }
    }
    void load();
    return () => {
      isStale = true;
    };
  }, [client, key, round]);

  const reload = useCallback(() => setRound((before) => before + 1), []);
  const refresh = useCallback(
    async (ids: readonly string[]) => {
      const asking = latest.current;
      if (asking === null || ids.length === 0) {
        return;
      }
      const changed = await current(client, asking, ids).catch(() => null); // the next change tells of it again
      if (changed === null || latest.current === null || JSON.stringify(latest.current) !== JSON.stringify(asking)) {
        return;
      }
      setState(({ frame, ...before }) => {
        if (frame === null) {
          return { ...before, frame };
        }
        const known = new Set(frame.ids);
        const fresh = changed.ids.filter((id) => !known.has(id)).length;
        return { ...before, frame: updated(frame, ids, changed), fresh: before.fresh + fresh };
      });
    },
    [client],
  );
  return { ...state, reload, refresh };
}
