import type { ReactNode } from "react";
import { Link } from "wouter";
import type { RunPageQuery } from "../api/gql";
import { counted } from "../charts/numbers";
import { sizeText } from "../preview/sizes";
import { EMPTY } from "../state/url";
import { addressOf } from "../state/view";
import { StatusBadge } from "../ui/Badge";
import { Moment } from "./Moment";
import { MetricTable } from "./MetricTable";
import styles from "./Overview.module.css";
import { ParamList } from "./ParamList";
import { runHref } from "./paths";

type Run = NonNullable<RunPageQuery["run"]>;

/** A run at a glance: where it comes from, its params, its metrics. */
export function Overview({ run }: { run: Run }) {
  return (
    <div className={styles.columns}>
      <div className={styles.facts}>
        <Note run={run} />
        <About run={run} />
        <Inputs run={run} />
        <Children run={run} />
      </div>
      <ParamList run={run} />
      <MetricTable run={run} most={30} />
    </div>
  );
}

/** What people wrote about it: the tag `note`. */
function Note({ run }: { run: Run }) {
  const note = run.tags.find(({ key }) => key === "note");
  return note ? <p className={styles.note}>{note.value}</p> : null;
}

function Facts({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      <dl className={styles.list}>{children}</dl>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function About({ run }: { run: Run }) {
  const { source, environment } = run;
  const machine = environment && [environment.hostname, environment.cpuCount && `${environment.cpuCount} CPUs`, environment.memoryBytes && sizeText(environment.memoryBytes), ...environment.gpus];
  return (
    <Facts title="About">
      <Fact name="project">{run.project.name}</Fact>
      <Fact name="started">
        <Moment at={run.startedAt ?? run.createdAt} />
      </Fact>
      <Fact name="ended">
        <Moment at={run.finishedAt} />
      </Fact>
      {source && (
        <Fact name="source">
          <Link href={runHref(run.id, "source")} className="mono">
            {source.commit?.slice(0, 10) ?? "source"}
          </Link>{" "}
          {source.branch} {source.dirty && <span className={styles.warn}>{source.patchDigest ? "+ patch" : "uncommitted changes"}</span>}
        </Fact>
      )}
      {source?.entryPoint && (
        <Fact name="entry point">
          <span className="mono">{source.entryPoint}</span>
        </Fact>
      )}
      {environment?.python && <Fact name="python">{environment.python}</Fact>}
      {machine?.some(Boolean) && <Fact name="machine">{machine.filter(Boolean).join(", ")}</Fact>}
      <Fact name="id">
        <span className="mono">{run.id}</span>
      </Fact>
    </Facts>
  );
}

function Inputs({ run }: { run: Run }) {
  if (run.inputs.length === 0) {
    return null;
  }
  return (
    <Facts title="Datasets">
      {run.inputs.map(({ name, digest, context, uri }) => (
        <Fact key={`${name} ${context} ${digest}`} name={context ?? "input"}>
          {name}{" "}
          <Link className="mono" title={`Runs that read ${digest}`} href={addressOf(`/e/${run.experiment.id}`, { ...EMPTY, q: `datasets.digest = ${sqlText(digest)}` })}>
            {digest.slice(0, 16)}
          </Link>
          {uri !== null && <span className={styles.uri}>{uri}</span>}
        </Fact>
      ))}
    </Facts>
  );
}

/** A text as filters take it. */
const sqlText = (text: string) => `'${text.replaceAll("'", "''")}'`;

function Children({ run }: { run: Run }) {
  const children = run.children.nodes;
  if (children.length === 0) {
    return null;
  }
  return (
    <section aria-label="Runs below">
      <h2>{counted(run.descendantCount, "run")} below</h2>
      <ul className={styles.children}>
        {children.map(({ id, name, status }) => (
          <li key={id}>
            <Link href={runHref(id)}>{name}</Link>
            <StatusBadge status={status} />
          </li>
        ))}
      </ul>
      {children.length > 1 && <Link href={addressOf("/compare/diff", { ...EMPTY, sel: children.map(({ id }) => id) })}>Compare {children.length === 2 ? "both" : `these ${children.length}`}</Link>}
    </section>
  );
}
