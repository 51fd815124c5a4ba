import { useMemo } from "react";
import { useQuery } from "urql";
import { Link } from "wouter";
import { said } from "../api/client";
import { type ArtifactState, RunArtifactsDocument, type RunArtifactsQuery, type RunPageQuery, SameBytesDocument } from "../api/gql";
import { counted, wholeNumber } from "../charts/numbers";
import { DownloadButton } from "../preview/DownloadButton";
import { Preview } from "../preview/Preview";
import { sizeText } from "../preview/sizes";
import { Problem } from "../ui/Problem";
import styles from "./Artifacts.module.css";
import { Moment } from "./Moment";
import { fileHref } from "./paths";
import { type Folder, treeOf } from "./tree";
import { usePages } from "./usePages";
import { useRepeat } from "./useRepeat";

type Run = NonNullable<RunPageQuery["run"]>;
type Connection = NonNullable<RunArtifactsQuery["run"]>["artifacts"];
export type Artifact = Connection["nodes"][number];

interface Props {
  run: Run;
  /** The path of the file that is shown. */
  shown: string | null;
}

/** The files of a run: a tree, and beside it the one that is looked at. */
export function Artifacts({ run, shown }: Props) {
  const [{ data, error }, again] = useQuery({ query: RunArtifactsDocument, variables: { id: run.id, prefix: "" } });
  const first = data?.run?.artifacts;
  useRepeat(run.status === "RUNNING" || first?.nodes.some(({ state }) => state === "PENDING" || state === "VALIDATING") === true, again);
  if (error) {
    return <Problem title="The files cannot be listed" advice={said(error)} onRetry={() => again({ requestPolicy: "network-only" })} />;
  }
  return first ? <Files run={run} first={first} shown={shown} /> : null;
}

function Files({ run, first, shown }: Props & { first: Connection }) {
  const { nodes, more, error } = usePages(first, async (client, after) => {
    const { data, error: failure } = await client.query(RunArtifactsDocument, { id: run.id, prefix: "", after });
    return { page: data?.run?.artifacts, error: failure };
  });
  const { found, isUnknown } = useFound(run, more === null ? null : shown, nodes);
  const files = useMemo(() => [...nodes, ...found], [nodes, found]);
  const tree = useMemo(() => treeOf(files), [files]);
  const artifact = shown === null ? undefined : bestAt(files, shown);
  if (nodes.length === 0) {
    return <p className={styles.empty}>This run logged no files.</p>;
  }
  return (
    <div className={styles.page}>
      <nav className={styles.tree} aria-label="Files">
        <Branch run={run} folder={tree} shown={shown} isOpen={nodes.length <= OPEN_MOST} />
        {more && (
          <button type="button" onClick={more}>
            Show more of {wholeNumber(first.totalCount)}
          </button>
        )}
        {error && <p role="alert">{said(error)}</p>}
      </nav>
      {artifact ? (
        <File key={artifact.id} run={run} artifact={artifact} />
      ) : (
        <Summary files={nodes} total={first.totalCount} missing={isUnknown ? null : shown} />
      )}
    </div>
  );
}

const OPEN_MOST = 200;
const NONE: readonly Artifact[] = [];

/** The files at a path that a link names and that are not listed yet. */
function useFound(run: Run, path: string | null, listed: readonly Artifact[]): { found: readonly Artifact[]; isUnknown: boolean } {
  const isListed = path === null || listed.some((file) => file.path === path);
  const [{ data, error, fetching }] = useQuery({ query: RunArtifactsDocument, variables: { id: run.id, prefix: path ?? "" }, pause: isListed });
  const found = useMemo(() => data?.run?.artifacts.nodes.filter((file) => file.path === path) ?? NONE, [data, path]);
  return isListed ? { found: NONE, isUnknown: false } : { found, isUnknown: fetching || error !== undefined };
}

/** Of several uploads at a path the one that is there, else the newest. */
function bestAt(files: readonly Artifact[], path: string): Artifact | undefined {
  const there = files.filter((file) => file.path === path);
  return there.find(({ state }) => state === "READY") ?? there.toSorted((one, other) => other.createdAt.localeCompare(one.createdAt))[0];
}

interface BranchProps {
  run: Run;
  folder: Folder<Artifact>;
  shown: string | null;
  isOpen: boolean;
}

function Branch({ run, folder, shown, isOpen }: BranchProps) {
  return (
    <ul>
      {folder.folders.map((inner) => (
        <li key={inner.path}>
          <details open={isOpen || shown?.startsWith(`${inner.path}/`)}>
            <summary>{inner.name}/</summary>
            <Branch run={run} folder={inner} shown={shown} isOpen={isOpen} />
          </details>
        </li>
      ))}
      {folder.files.map((file) => (
        <li key={file.id}>
          <Link href={fileHref(run.id, file.path)} aria-current={file.path === shown ? "true" : undefined}>
            <span className={styles.name}>{file.path.slice(file.path.lastIndexOf("/") + 1)}</span>
            {file.state === "READY" ? <span className="muted">{sizeText(file.sizeBytes)}</span> : <StateText state={file.state} />}
          </Link>
        </li>
      ))}
    </ul>
  );
}

const STATES: Record<ArtifactState, { word: string; mark: string }> = {
  PENDING: { word: "uploading", mark: "…" },
  VALIDATING: { word: "being verified", mark: "…" },
  READY: { word: "ready", mark: "✓" },
  FAILED: { word: "failed", mark: "✕" },
};

function StateText({ state }: { state: ArtifactState }) {
  const { word, mark } = STATES[state];
  return (
    <span className={styles[state]}>
      <span aria-hidden="true">{mark} </span>
      {word}
    </span>
  );
}

function Summary({ files, total, missing }: { files: readonly Artifact[]; total: number; missing: string | null }) {
  const failed = files.filter(({ state }) => state === "FAILED");
  const bytes = files.filter(({ state }) => state === "READY").reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return (
    <section className={styles.file} aria-label="All files">
      {missing !== null && <p role="alert">There is no file at {missing}.</p>}
      <p>
        {counted(total, "file")}, {files.length < total && `of the first ${wholeNumber(files.length)} `}
        {sizeText(bytes)} ready{failed.length > 0 && <span className={styles.FAILED}>, {failed.length} failed</span>}.
      </p>
      {failed.map(({ id, path, failure }) => (
        <p key={id}>
          <span className={styles.FAILED}>✕ {path}:</span> {failure?.message}
        </p>
      ))}
      <p className="muted">Choose a file to look at it.</p>
    </section>
  );
}

function File({ run, artifact }: { run: Run; artifact: Artifact }) {
  const { path, state, digest, sizeBytes, finalizedAt, failure, attempt } = artifact;
  return (
    <section className={styles.file} aria-label={path}>
      <header>
        <h2>{path}</h2>
        {state === "READY" && <DownloadButton name={path} of={{ artifact: artifact.id }} />}
      </header>
      <p className={styles.facts}>
        <StateText state={state} />
        <span>{sizeText(sizeBytes)}</span>
        {finalizedAt !== null && <Moment at={finalizedAt} />}
        {run.attempt > 1 && <span className="muted">attempt {attempt}</span>}
        <span className="mono" title={digest}>
          {digest}
        </span>
      </p>
      {state === "READY" && <SameBytes artifact={artifact} />}
      {failure && (
        <p role="alert" className={styles.FAILED}>
          {REASONS[failure.reason] ?? failure.reason}: {failure.message}
        </p>
      )}
      {state === "READY" ? <Preview artifact={artifact} /> : <p className="muted">{state === "FAILED" ? "There is nothing to show: nothing was kept." : "It can be looked at when it is verified."}</p>}
    </section>
  );
}

const SAME_MOST = 100;
const NAMED_MOST = 5;

/** Which other runs have the same bytes, at whatever path. */
function SameBytes({ artifact }: { artifact: Artifact }) {
  const [{ data }] = useQuery({ query: SameBytesDocument, variables: { id: artifact.id } });
  const others = data?.artifact?.sameBytes ?? [];
  if (others.length === 0) {
    return null;
  }
  const more = others.length - NAMED_MOST;
  return (
    <p className={styles.facts}>
      <span className="muted">
        same bytes in {counted(others.length, "other file")}
        {others.length === SAME_MOST && " and more"}:
      </span>
      {others.slice(0, NAMED_MOST).map(({ id, path, run }) => (
        <Link key={id} href={fileHref(run.id, path)} title={path}>
          {run.name}
        </Link>
      ))}
      {more > 0 && <span className="muted">and {more} more</span>}
    </p>
  );
}

const REASONS: Record<string, string> = {
  DIGEST_MISMATCH: "Other bytes arrived than were promised",
  SIZE_MISMATCH: "More or fewer bytes arrived than were promised",
  MISSING: "The bytes never arrived",
  EXPIRED: "The upload was not completed in time",
  ABORTED: "The upload was given up",
  POISON: "Verifying it ended without a result, again and again",
  STORAGE: "The object store could not be reached",
};
