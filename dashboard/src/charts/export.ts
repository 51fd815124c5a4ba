import type { Client } from "urql";
import { said } from "../api/client";
import { LoggedPointsDocument, type RunSelection } from "../api/gql";
import { float64Column, int64Column } from "./columns";
import { csvText } from "./csv";
import type { Frame } from "./frames";
import { float32Text } from "./numbers";

/** Up to so many points are saved as they were logged; beyond, what the chart shows of them. */
const POINTS_MAX = 500_000;

/** The points of a metric, each as it was logged: run, step, time in Unix milliseconds, value. Throws an `Error` with the server's reason. */
export async function loggedCsv(client: Client, select: RunSelection, metric: string, nameOf: (id: string) => string): Promise<string> {
  const { data, error } = await client.query(LoggedPointsDocument, { select, keys: [metric] }, { requestPolicy: "network-only" });
  if (error) {
    throw new Error(said(error));
  }
  function* rows(): Generator<(string | number)[]> {
    for (const { runId, steps, times, values } of data?.series ?? []) {
      const ats = int64Column(times as string);
      const numbers = float64Column(values as string);
      for (const [i, step] of int64Column(steps as string).entries()) {
        yield [runId, nameOf(runId), String(step), String(ats[i]), numbers[i]!];
      }
    }
  }
  return csvText(["run_id", "run", "step", "time_ms", metric], rows());
}

/** What a chart shows: the mean of each bucket, and where they were asked for its least and greatest value. */
export function shownCsv(frame: Frame, nameOf: (id: string) => string, xName: string): string {
  function* rows(): Generator<(string | number | null)[]> {
    for (const { id, mean, min, max, deviation } of frame.series) {
      for (const [i, value] of mean.entries()) {
        if (!Number.isNaN(value)) {
          const rest = [value, min?.[i], max?.[i], deviation?.[i]].map((each) => (each === undefined ? null : Number(float32Text(each))));
          yield [id, nameOf(id), frame.xs[i]!, ...rest];
        }
      }
    }
  }
  return csvText(["id", "name", xName, "mean", "min", "max", "std"], rows());
}

/** Whether the points of a frame are few enough to be saved one by one. */
export function isSavedWhole(frame: Frame): boolean {
  return frame.pointCount <= POINTS_MAX;
}
