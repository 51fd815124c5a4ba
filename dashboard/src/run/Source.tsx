import { useState } from "react";
import { useQuery } from "urql";
import { said } from "../api/client";
import { type RunPageQuery, RunSourceDocument, type RunSourceQuery } from "../api/gql";
import { wholeNumber } from "../charts/numbers";
import { Patch } from "../diff/Patches";
import { own, setOwn } from "../diff/own";
import { DownloadButton } from "../preview/DownloadButton";
import { sizeText } from "../preview/sizes";
import { useView } from "../state/view";
import { Problem } from "../ui/Problem";
import { commandOf } from "./command";
import { CopyButton } from "./CopyButton";
import styles from "./Source.module.css";

type Run = NonNullable<RunPageQuery["run"]>;
type Attempt = NonNullable<RunSourceQuery["run"]>["attempts"][number];

/** What a run was made of: commit, patch, command, machine, packages; of each attempt. */
export function Source({ run }: { run: Run }) {
  const [view, update] = useView();
  const [{ data, error }, again] = useQuery({ query: RunSourceDocument, variables: { id: run.id } });
  if (error) {
    return <Problem title="The source cannot be shown" advice={said(error)} onRetry={() => again({ requestPolicy: "network-only" })} />;
  }
  const found = data?.run;
  if (!found) {
    return null;
  }
  const wanted = Number(own(view, "attempt"));
  const attempt = found.attempts.find(({ number }) => number === wanted) ?? found.attempts.at(-1)!;
  return (
    <div className={styles.page}>
      {found.attempts.length > 1 && (
        <label className={styles.choice}>
          Attempt
          <select value={attempt.number} onChange={(event) => setOwn(update, { attempt: event.target.value })}>
            {found.attempts.map(({ number, status }) => (
              <option key={number} value={number}>
                {number}, {status.toLowerCase()}
              </option>
            ))}
          </select>
        </label>
      )}
      <Code attempt={attempt} />
      {attempt.source?.dirty && <Changes attempt={attempt} patch={found.patch} />}
      <Machine attempt={attempt} />
      <Packages attempt={attempt} />
    </div>
  );
}

function Code({ attempt }: { attempt: Attempt }) {
  const { source } = attempt;
  if (!source) {
    return <p className="muted">Its client told nothing of the source.</p>;
  }
  const command = commandOf(source);
  const facts: [string, string | null][] = [
    ["commit", source.commit],
    ["branch", source.branch],
    ["remote", source.remote],
    ["working tree", source.dirty === null ? null : source.dirty ? "uncommitted changes" : "clean"],
  ];
  return (
    <section aria-label="Source">
      <h2>Source</h2>
      <Facts facts={facts} />
      {command !== null && (
        <div className={styles.command}>
          <pre>{command}</pre>
          <CopyButton text={command} name="Copy the command" />
        </div>
      )}
    </section>
  );
}

type PatchFile = NonNullable<RunSourceQuery["run"]>["patch"];

function Changes({ attempt, patch }: { attempt: Attempt; patch: PatchFile }) {
  const digest = attempt.source?.patchDigest ?? null;
  const isThere = patch !== null && patch.state === "READY" && patch.digest === digest;
  return (
    <section aria-label="Uncommitted changes">
      <h2>Uncommitted changes</h2>
      {isThere ? (
        <>
          <p className={styles.choice}>
            <DownloadButton name="the patch" of={{ artifact: patch.id }} />
            <span className="mono">{digest}</span>
          </p>
          <Patch patch={patch} />
        </>
      ) : (
        <p className="muted">{digest === null ? "What they were was not uploaded." : `They are the patch ${digest}, which this run does not have.`}</p>
      )}
    </section>
  );
}

function Machine({ attempt }: { attempt: Attempt }) {
  const { environment } = attempt;
  if (!environment) {
    return null;
  }
  const facts: [string, string | null][] = [
    ["python", environment.python],
    ["platform", environment.platform],
    ["host", environment.hostname],
    ["CPUs", environment.cpuCount === null ? null : String(environment.cpuCount)],
    ["memory", environment.memoryBytes === null ? null : sizeText(environment.memoryBytes)],
    ["GPUs", environment.gpus.join(", ") || null],
  ];
  return (
    <section aria-label="Environment">
      <h2>Environment</h2>
      <Facts facts={facts} />
    </section>
  );
}

function Packages({ attempt }: { attempt: Attempt }) {
  const [search, setSearch] = useState("");
  const packages = attempt.environment?.packages ?? [];
  if (packages.length === 0) {
    return null;
  }
  const shown = packages.filter(({ name }) => name.toLowerCase().includes(search.toLowerCase()));
  return (
    <section aria-label="Packages">
      <header className={styles.choice}>
        <h2>Packages</h2>
        <span className="muted">{wholeNumber(packages.length)}</span>
        <input type="search" placeholder="Filter" aria-label="Filter packages" value={search} onChange={(event) => setSearch(event.target.value)} />
        <CopyButton text={packages.map(({ name, version }) => `${name}==${version}\n`).join("")} name="Copy as requirements.txt" />
      </header>
      <ul className={styles.packages}>
        {shown.map(({ name, version }) => (
          <li key={name}>
            {name} <span className="muted">{version}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Facts({ facts }: { facts: [string, string | null][] }) {
  return (
    <dl className={styles.facts}>
      {facts.map(
        ([name, value]) =>
          value !== null && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}
