import { useMemo, useState } from "react";
import { useQuery } from "urql";
import { Link } from "wouter";
import { said } from "../api/client";
import { type Goal, RunMetricsDocument, type RunPageQuery, RunSparksDocument } from "../api/gql";
import { float64Column } from "../charts/columns";
import { wholeNumber } from "../charts/numbers";
import { metricText } from "../diff/rows";
import { EMPTY } from "../state/url";
import { addressOf } from "../state/view";
import styles from "./Lists.module.css";
import { Spark } from "./Spark";
import { usePages } from "./usePages";
import { useRepeat } from "./useRepeat";

type Run = NonNullable<RunPageQuery["run"]>;
type Metric = Run["metrics"]["nodes"][number];

interface Props {
  run: Run;
  /** How many rows are shown until more are wanted. */
  most: number;
}

const MORE = 100;
const GOALS: Record<Goal, string> = { MINIMIZE: "smaller is better", MAXIMIZE: "larger is better" };

/** What a run measured, summed up, each with a small line. */
export function MetricTable({ run, most }: Props) {
  const [search, setSearch] = useState("");
  const [room, setRoom] = useState(most);
  const { nodes, more, error } = usePages(run.metrics, async (client, after) => {
    const { data, error: failure } = await client.query(RunMetricsDocument, { id: run.id, after });
    return { page: data?.run?.metrics, error: failure };
  }, search !== "");
  const found = nodes.filter(({ key }) => key.toLowerCase().includes(search.toLowerCase()));
  const shown = found.slice(0, room);
  const sparks = useSparks(run, shown);
  const goals = useMemo(() => new Map(run.project.metricGoals.map(({ key, goal }) => [key, goal])), [run.project.metricGoals]);
  const showMore = found.length > room ? () => setRoom(room + MORE) : more;
  return (
    <section className={styles.section} aria-label="Metrics">
      <header>
        <h2>Metrics</h2>
        <span className="muted">{wholeNumber(run.metrics.totalCount)}</span>
        {nodes.length > 0 && <input type="search" placeholder="Filter" aria-label="Filter metrics" value={search} onChange={(event) => setSearch(event.target.value)} />}
      </header>
      {nodes.length === 0 ? (
        <p className="muted">None were logged.</p>
      ) : (
        <div className={styles.scroller} role="region" aria-label="Table of metrics" tabIndex={0}>
          <table className={`${styles.table} ${styles.metrics}`}>
            <thead>
              <tr>
                <th scope="col">metric</th>
                <th scope="col">last</th>
                <th scope="col">min</th>
                <th scope="col">max</th>
                <th scope="col">points</th>
                <th scope="col">
                  <span className="out-of-sight">line</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((metric) => (
                <MetricRow key={metric.key} run={run} metric={metric} goal={goals.get(metric.key) ?? null} spark={sparks.get(metric.key)} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {nodes.length > 0 && found.length === 0 && !more && <p className="muted">None is called so.</p>}
      {showMore && (
        <button type="button" onClick={showMore}>
          Show more
        </button>
      )}
      {error && <p role="alert">{said(error)}</p>}
    </section>
  );
}

function useSparks(run: Run, shown: readonly Metric[]): ReadonlyMap<string, Float64Array> {
  const keys = shown.filter(({ count }) => count > 1).map(({ key }) => key);
  const [{ data }, again] = useQuery({ query: RunSparksDocument, variables: { id: run.id, keys }, pause: keys.length === 0 });
  useRepeat(run.status === "RUNNING" && keys.length > 0, again);
  return useMemo(() => new Map(data?.run?.series.map(({ key, values }) => [key, float64Column(values as string)])), [data]);
}

interface RowProps {
  run: Run;
  metric: Metric;
  goal: Goal | null;
  spark: Float64Array | undefined;
}

function MetricRow({ run, metric, goal, spark }: RowProps) {
  const { key, last, lastStep, min, minStep, max, maxStep, count, nonFinite } = metric;
  const chart = addressOf(`/e/${run.experiment.id}/charts`, { ...EMPTY, sel: [run.id], m: [key] });
  return (
    <tr>
      <th scope="row">
        <Link href={chart} title={`${key}: draw it`}>
          {key}
        </Link>
        {goal && <span className="muted" title={GOALS[goal]}>{goal === "MINIMIZE" ? " ↓" : " ↑"}</span>}
      </th>
      <td className={styles.number} title={`${last} at step ${lastStep}`}>
        {metricText(last)}
      </td>
      <td className={goal === "MINIMIZE" ? styles.best : styles.number} title={min === null ? undefined : `${min} at step ${minStep}`}>
        {min === null ? "—" : metricText(min)}
      </td>
      <td className={goal === "MAXIMIZE" ? styles.best : styles.number} title={max === null ? undefined : `${max} at step ${maxStep}`}>
        {max === null ? "—" : metricText(max)}
      </td>
      <td className={styles.number}>
        {wholeNumber(count)}
        {nonFinite > 0 && (
          <span className={styles.warn} title={`${wholeNumber(nonFinite)} of them NaN or infinite`}>
            {" "}
            ⚠ {wholeNumber(nonFinite)}
          </span>
        )}
      </td>
      <td className={styles.line}>{spark && <Spark values={spark} />}</td>
    </tr>
  );
}
