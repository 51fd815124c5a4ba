import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { type Client, type CombinedError, useClient } from "urql";
import { affordable, said } from "../api/client";
import { type AxisInput, FramesDocument, FramesWithRangeDocument, GroupFramesDocument, type RunColumn, type RunSelection } from "../api/gql";
import type { Operation } from "../copy/texts";
import { type Answer, type Frame, frameOf } from "./frames";

/** What frames are asked of. */
export interface FramesOf {
  select: RunSelection;
  x: AxisInput;
  buckets: number;
  maxSeries: number;
  /** null for a line for each run. */
  groupBy: RunColumn[] | null;
  /** Whether to tell of the least and the greatest value of runs; of groups that is always told. */
  withRange: boolean;
}

// What the server reads of one request.
const METRICS_MAX = 50;
const SERIES_MAX = 10_000;
const CELLS_MAX = 5_000_000; // buckets of all series

type FramesByMetric = ReadonlyMap<string, Frame>;

interface Held {
  /** What the frames are over and of; those of another cannot be drawn even for a moment. */
  subject: string;
  frames: FramesByMetric;
  /** The newest over the whole of the axis, and what they answer: who zooms out again sees them at once. */
  whole: { request: string; frames: FramesByMetric };
}

const NOTHING: Held = { subject: "", frames: new Map(), whole: { request: "", frames: new Map() } };

/**
 * The frames of these metrics: one request for all that are not there, or one after the other where they are too many
 * for one. While another range or selection is on its way the frames before it stay, or those of the whole come back;
 * `of` null waits. `reload` reads them all again.
 */
export function useFrames(of: FramesOf | null, metrics: readonly string[]) {
  const client = useClient();
  const [held, setHeld] = useState(NOTHING);
  const [problem, setProblem] = useState<string | null>(null);
  const request = JSON.stringify(of);
  const subject = useMemo(() => of && JSON.stringify([of.groupBy, of.x.kind, of.x.metric]), [of]);
  const asked = useRef({ request: "", metrics: new Set<string>(), atOnce: 1 });

  const load = useCallback(
    async (wanted: readonly string[]) => {
      for (let done = 0; done < wanted.length; ) {
        const part = wanted.slice(done, done + asked.current.atOnce);
        const { frames, error } = await readFrames(client, of!, part);
        if (asked.current.request !== request) {
          return; // something else is wanted by now
        }
        const share = error && affordable(error);
        if (share && part.length > 1) {
          asked.current.atOnce = Math.max(1, Math.floor(part.length * share));
          continue;
        }
        setProblem(error ? said(error) : null);
        if (error) {
          return;
        }
        setHeld((before) => joined(before.subject === subject ? before : { ...NOTHING, subject: subject! }, frames, of!, request));
        done += part.length;
      }
    },
    [client, request],
  );

  useEffect(() => {
    if (asked.current.request !== request) {
      asked.current = { request, metrics: new Set(), atOnce: of ? metricsAtOnce(of) : 1 };
    }
    const missing = metrics.filter((metric) => !asked.current.metrics.has(metric));
    if (of !== null && missing.length > 0) {
      missing.forEach((metric) => asked.current.metrics.add(metric));
      setTimeout(() => void load(missing)); // behind the picture of what is there
    }
  }, [load, request, metrics, of]);

  const reload = useCallback(async () => {
    if (of !== null && metrics.length > 0) {
      await load(metrics);
    }
  }, [load, of, metrics]);

  const frames = useMemo(() => framesFor(request, held.subject === subject ? held : NOTHING), [request, held, subject]);
  return { frames, problem, reload };
}

/** For how many metrics one request may ask at most; over another metric that one is read of each run too. */
export function metricsAtOnce({ x, buckets, maxSeries }: Pick<FramesOf, "x" | "buckets" | "maxSeries">): number {
  const ofSeries = Math.floor(SERIES_MAX / maxSeries) - (x.kind === "METRIC" ? 1 : 0);
  const ofCells = Math.floor(CELLS_MAX / (maxSeries * buckets));
  return Math.max(1, Math.min(METRICS_MAX, ofSeries, ofCells));
}

/** What is held when these frames have come, too. */
function joined({ subject, frames, whole }: Held, come: readonly Frame[], { x }: FramesOf, request: string): Held {
  const found = come.map((frame) => [frame.metric, frame] as const);
  const isWhole = x.min === null && x.max === null;
  return {
    subject,
    frames: new Map([...frames, ...found]),
    whole: isWhole ? { request, frames: new Map([...(whole.request === request ? whole.frames : []), ...found]) } : whole,
  };
}

/** What is drawn for the request: the frames that came last, or the whole where it is asked for again. */
function framesFor(request: string, { frames, whole }: Held): FramesByMetric {
  return whole.request === request ? new Map([...frames, ...whole.frames]) : frames;
}

/** The frames of these metrics, newly read; none where the server refused. */
export async function readFrames(client: Client, of: FramesOf, metrics: readonly string[]): Promise<{ frames: Frame[]; error: CombinedError | undefined }> {
  const { groupBy, withRange, ...rest } = of;
  const variables = { ...rest, metrics: [...metrics] };
  const fresh = { requestPolicy: "network-only" } as const;
  const { data, error } = groupBy
    ? await client.query(GroupFramesDocument, { ...variables, groupBy }, fresh)
    : await client.query(withRange ? FramesWithRangeDocument : FramesDocument, variables, fresh);
  const answers: readonly Answer[] = data?.metricFrames ?? [];
  return { frames: answers.map(frameOf), error };
}

/** What is asked for these metrics, to be taken along. */
export function operationOf(of: FramesOf | null, metrics: readonly string[]): Operation {
  const { groupBy = null, withRange = false, ...variables } = of ?? {};
  return groupBy
    ? { document: GroupFramesDocument, variables: { ...variables, metrics, groupBy } }
    : { document: withRange ? FramesWithRangeDocument : FramesDocument, variables: { ...variables, metrics } };
}
