import { useDeferredValue, useRef, useState } from "react";
import { useQuery } from "urql";
import { Link } from "wouter";
import { said } from "../api/client";
import { ExperimentsDocument, type ExperimentsQuery, type RunStatus } from "../api/gql";
import { CopyMenu } from "../copy/CopyMenu";
import { ago, count } from "../table/format";
import { useShortcuts } from "../ui/Keys";
import { Middle } from "../ui/Middle";
import { Problem } from "../ui/Problem";
import styles from "./Experiments.module.css";
import { FirstRun } from "./FirstRun";

type Experiment = ExperimentsQuery["experiments"]["nodes"][number];
const STATES: readonly (readonly [RunStatus, string])[] = [["RUNNING", "Running"], ["FAILED", "Failed"], ["LOST", "Lost"]];

/** All experiments, the one that was heard of last first. */
export default function Experiments() {
  const [search, setSearch] = useState("");
  const [after, setAfter] = useState<string | null>(null);
  const [before, setBefore] = useState<readonly Experiment[]>([]);
  const wanted = useDeferredValue(search.trim());
  const variables = { search: wanted === "" ? null : wanted, after };
  const [{ data, error }, retry] = useQuery({ query: ExperimentsDocument, variables, requestPolicy: "cache-and-network" });
  const input = useRef<HTMLInputElement>(null);
  useShortcuts([{ keys: "/", does: "search", run: () => input.current?.focus() }]);

  if (error) {
    return <Problem title="The experiments cannot be shown" advice={said(error)} onRetry={() => retry({ requestPolicy: "network-only" })} />;
  }
  if (!data) {
    return <p className={styles.waiting}>Looking for experiments …</p>;
  }
  const { nodes, totalCount, pageInfo } = data.experiments;
  if (totalCount === 0 && wanted === "") {
    return <FirstRun experiment={null} />;
  }
  return (
    <section className={styles.page}>
      <header>
        <h1>Experiments</h1>
        <span className="muted">{count(totalCount)}</span>
        <input
          ref={input}
          type="search"
          aria-label="Search experiments"
          placeholder="Search"
          value={search}
          onChange={(event) => {
            setSearch(event.target.value);
            setAfter(null);
            setBefore([]);
          }}
        />
        <Link className="button" href="/compare">
          All runs
        </Link>
        <span className={styles.share}>
          <CopyMenu operation={{ document: ExperimentsDocument, variables }} />
        </span>
      </header>
      {totalCount === 0 ? <p className={styles.waiting}>No experiment has “{wanted}” in its name.</p> : <Table experiments={[...before, ...nodes]} />}
      {pageInfo.hasNextPage && (
        <button
          type="button"
          onClick={() => {
            setBefore([...before, ...nodes]);
            setAfter(pageInfo.endCursor);
          }}
        >
          Show more
        </button>
      )}
    </section>
  );
}

function Table({ experiments }: { experiments: readonly Experiment[] }) {
  const now = Date.now();
  return (
    <table className={styles.table}>
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Project</th>
          <th scope="col">Runs</th>
          {STATES.map(([state, title]) => (
            <th key={state} scope="col">
              {title}
            </th>
          ))}
          <th scope="col">Last activity</th>
        </tr>
      </thead>
      <tbody>
        {experiments.map(({ id, name, project, runCount, statusCounts, lastActivityAt }) => (
          <tr key={id}>
            <th scope="row">
              <Link href={`/e/${id}`}>
                <Middle text={name} />
              </Link>
            </th>
            <td>
              <Middle text={project.name} />
            </td>
            <td>{count(runCount)}</td>
            {STATES.map(([state]) => (
              <Count key={state} state={state} of={statusCounts} />
            ))}
            <td title={lastActivityAt ?? undefined}>{lastActivityAt ? ago(lastActivityAt, now) : "–"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Count({ state, of }: { state: RunStatus; of: Experiment["statusCounts"] }) {
  const found = of.find(({ status }) => status === state)?.count ?? 0;
  return <td className={found > 0 ? styles[state.toLowerCase()] : styles.none}>{found > 0 ? count(found) : "–"}</td>;
}
