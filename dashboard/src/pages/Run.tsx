import { type ReactNode, useMemo } from "react";
import { useQuery } from "urql";
import { Link } from "wouter";
import { said } from "../api/client";
import { RunPageDocument, type RunPageQuery, ShellDocument } from "../api/gql";
import { wholeNumber } from "../charts/numbers";
import { CopyMenu } from "../copy/CopyMenu";
import { Artifacts } from "../run/Artifacts";
import { CompareWith } from "../run/CompareWith";
import { History } from "../run/History";
import { MetricTable } from "../run/MetricTable";
import { Moment } from "../run/Moment";
import { Overview } from "../run/Overview";
import { fileIn, runHref } from "../run/paths";
import { Source } from "../run/Source";
import { Stop } from "../run/Stop";
import { Tags } from "../run/Tags";
import { useRepeat } from "../run/useRepeat";
import { duration } from "../table/format";
import { StatusBadge } from "../ui/Badge";
import { Problem } from "../ui/Problem";
import styles from "./Run.module.css";

export interface Props {
  run: string;
  /** What follows in the address: "", "metrics", "artifacts/plots/cm.png", "source", "history". */
  tab: string;
}

type Run = NonNullable<RunPageQuery["run"]>;

/** One run: what it is, and everything it recorded. */
export default function Run({ run: id, tab }: Props) {
  const variables = useMemo(() => ({ id }), [id]);
  const [{ data, error, fetching }, again] = useQuery({ query: RunPageDocument, variables });
  const run = data?.run;
  useRepeat(run?.status === "RUNNING" || run?.status === "LOST", again);

  if (error && !run) {
    return <Problem title="This run cannot be shown" advice={said(error)} onRetry={() => again({ requestPolicy: "network-only" })} />;
  }
  if (!run) {
    return fetching ? null : <Problem title="There is no such run" advice="It is not here, or it is not yours to see." />;
  }
  return (
    <div className={styles.page}>
      <Head run={run} />
      <Tabs run={run} tab={tab} actions={<CopyMenu operation={{ document: RunPageDocument, variables }} />} />
      <Tab run={run} tab={tab} />
    </div>
  );
}

function Head({ run }: { run: Run }) {
  const [{ data }] = useQuery({ query: ShellDocument, variables: {} });
  const { viewerRole } = run.project;
  const isOwn = data?.viewer.id === run.createdBy.id;
  const mayEdit = viewerRole === "OWNER" || viewerRole === "EDITOR" || (viewerRole === "LOGGER" && isOwn);
  return (
    <header className={styles.head}>
      <p className={styles.trail}>
        <Link href={`/e/${run.experiment.id}`}>{run.experiment.name}</Link>
        {run.ancestors.map(({ id, name }) => (
          <Link key={id} href={runHref(id)}>
            {name}
          </Link>
        ))}
      </p>
      <div className={styles.facts}>
        <h1>{run.name}</h1>
        <StatusBadge status={run.status} />
        <span title={run.durationSeconds === null ? undefined : `${run.durationSeconds} s`}>{run.durationSeconds === null ? "open" : duration(run.durationSeconds)}</span>
        <span className="muted">
          by {run.createdBy.name}, <Moment at={run.startedAt ?? run.createdAt} />
        </span>
        {run.attempt > 1 && <Link href={runHref(run.id, "history")}>attempt {run.attempt}</Link>}
        {run.group !== null && <span className="muted">group {run.group}</span>}
        <Stop run={run} mayEdit={mayEdit} />
      </div>
      <Tags run={run} mayEdit={mayEdit} />
    </header>
  );
}

const TABS = [
  { path: "", word: "Overview" },
  { path: "metrics", word: "Metrics" },
  { path: "artifacts", word: "Artifacts" },
  { path: "source", word: "Source" },
  { path: "history", word: "History" },
] as const;

const nameOf = (tab: string) => tab.split("/")[0] ?? "";

function Tabs({ run, tab, actions }: { run: Run; tab: string; actions: ReactNode }) {
  const counts: Record<string, number> = { metrics: run.metrics.totalCount, artifacts: run.artifacts.totalCount };
  return (
    <div className={styles.bar}>
      <nav className={styles.tabs} aria-label="Pages of this run">
        {TABS.map(({ path, word }) => (
          <Link key={path} href={runHref(run.id, path)} aria-current={nameOf(tab) === path ? "page" : undefined}>
            {word}
            {counts[path] !== undefined && <span className="muted"> {wholeNumber(counts[path])}</span>}
          </Link>
        ))}
      </nav>
      <CompareWith run={run} />
      {actions}
    </div>
  );
}

function Tab({ run, tab }: { run: Run; tab: string }) {
  switch (nameOf(tab)) {
    case "":
      return <Overview run={run} />;
    case "metrics":
      return (
        <div className={styles.body}>
          <MetricTable run={run} most={100} />
        </div>
      );
    case "artifacts":
      return <Artifacts run={run} shown={fileIn(location.pathname)} />;
    case "source":
      return <Source run={run} />;
    case "history":
      return <History run={run} />;
    default:
      return <Problem title="There is no such page of a run" advice="The address may be mistyped." />;
  }
}
