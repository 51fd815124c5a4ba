import { useMemo } from "react";
import { useQuery } from "urql";
import { Link } from "wouter";
import { said } from "../api/client";
import { ArtifactVersionsDocument, type ArtifactVersionsQuery, type RunSelection } from "../api/gql";
import { counted } from "../charts/numbers";
import { CopyMenu } from "../copy/CopyMenu";
import { own, setOwn } from "../diff/own";
import { DownloadButton } from "../preview/DownloadButton";
import { Preview } from "../preview/Preview";
import { sizeText } from "../preview/sizes";
import { fileHref } from "../run/paths";
import { addressOf, useView } from "../state/view";
import { useShortcuts } from "../ui/Keys";
import { Problem } from "../ui/Problem";
import styles from "./ArtifactCompare.module.css";

type Comparison = NonNullable<ArtifactVersionsQuery["compareRuns"]>;
type Run = Comparison["runs"][number];
type Artifact = NonNullable<Comparison["artifacts"][number]["artifacts"][number]>;

/** The runs that have the same bytes at a path. */
interface Version {
  artifact: Artifact;
  runs: Run[];
}

function versionsOf({ runs, artifacts }: Comparison, path: string): { versions: Version[]; without: Run[] } {
  const file = artifacts.find((one) => one.path === path);
  const byDigest = new Map<string, Version>();
  const without: Run[] = [];
  runs.forEach((run, place) => {
    const artifact = file?.artifacts[place];
    if (!artifact) {
      without.push(run);
      return;
    }
    const version = byDigest.get(artifact.digest) ?? { artifact, runs: [] };
    version.runs.push(run);
    byDigest.set(artifact.digest, version);
  });
  return { versions: [...byDigest.values()], without };
}

/** A file in several runs: equal bytes are known by their digest, without reading any; others stand side by side. */
export default function ArtifactCompare() {
  const [view, update] = useView();
  const path = own(view, "path") ?? "";
  const select = useMemo<RunSelection>(() => ({ ...(view.sel.length > 0 && { runIds: [...view.sel] }), ...(view.q && { where: view.q }) }), [view.sel, view.q]);
  const variables = useMemo(() => ({ select, path }), [select, path]);
  const isPaused = path === "" || (view.sel.length === 0 && view.q === "");
  const [{ data, error }, again] = useQuery({ query: ArtifactVersionsDocument, variables, pause: isPaused });
  const found = useMemo(() => (data?.compareRuns ? versionsOf(data.compareRuns, path) : null), [data, path]);
  const count = found?.versions.length ?? 0;
  const first = Math.min(Math.max(Number(own(view, "at")) || 0, 0), Math.max(count - SIDE_BY_SIDE, 0));
  const step = (by: number) => setOwn(update, { at: String(Math.min(Math.max(first + by, 0), Math.max(count - SIDE_BY_SIDE, 0))) }, { replace: true });
  useShortcuts([
    { keys: "ArrowLeft", does: "versions before", run: () => step(-1) },
    { keys: "ArrowRight", does: "versions behind", run: () => step(1) },
  ]);

  if (isPaused) {
    return <Problem title="No file is chosen" advice="Choose one in the differences between runs." />;
  }
  if (error) {
    return <Problem title="This file cannot be compared" advice={said(error)} onRetry={() => again({ requestPolicy: "network-only" })} />;
  }
  if (!found) {
    return null;
  }
  const { versions, without } = found;
  return (
    <div className={styles.page}>
      <header className={styles.bar}>
        <Link href={addressOf("/compare/diff", { ...view, rest: [] })}>‹ Differences</Link>
        <h1>{path}</h1>
        <span className="muted">{saying(versions, without)}</span>
        {count > SIDE_BY_SIDE && (
          <span className={styles.steps}>
            <button type="button" aria-label="Versions before" disabled={first === 0} onClick={() => step(-1)}>
              ‹
            </button>
            {first + 1}–{first + SIDE_BY_SIDE} of {count}
            <button type="button" aria-label="Versions behind" disabled={first + SIDE_BY_SIDE >= count} onClick={() => step(1)}>
              ›
            </button>
          </span>
        )}
        <CopyMenu operation={{ document: ArtifactVersionsDocument, variables }} />
      </header>
      <div className={styles.versions}>
        {versions.slice(first, first + SIDE_BY_SIDE).map((version) => (
          <Card key={version.artifact.id} version={version} />
        ))}
      </div>
    </div>
  );
}

const SIDE_BY_SIDE = 4;
const NAMED_MOST = 8;

function saying(versions: readonly Version[], without: readonly Run[]): string {
  const sum = versions.reduce((total, { runs }) => total + runs.length, 0);
  const same = versions.length === 1 && sum > 1 ? "identical in all of them" : counted(versions.length, "version");
  const lacking = without.length > 0 ? `; ${counted(without.length, "run")} without it` : "";
  return versions.length === 0 ? "none of these runs has it" : `${counted(sum, "run")}, ${same}${lacking}`;
}

function Card({ version: { artifact, runs } }: { version: Version }) {
  return (
    <section className={styles.card} aria-label={`Version of ${runs[0]!.name}`}>
      <header>
        <span className={styles.names}>
          {runs.slice(0, NAMED_MOST).map(({ id, name }) => (
            <Link key={id} href={fileHref(id, artifact.path)}>
              {name}
            </Link>
          ))}
          {runs.length > NAMED_MOST && <span className="muted">and {runs.length - NAMED_MOST} more</span>}
        </span>
        <DownloadButton name={`${artifact.path} of ${runs[0]!.name}`} of={{ artifact: artifact.id }} />
      </header>
      <p className="muted">
        {sizeText(artifact.sizeBytes)} <span className="mono" title={artifact.digest}>{artifact.digest.slice(0, 19)}</span>
        {runs.length > 1 && ` = identical in ${runs.length} runs`}
      </p>
      <Preview artifact={artifact} />
    </section>
  );
}
