import { useMemo, useState } from "react";
import { counted, wholeNumber } from "../charts/numbers";
import { csvRows, wholeLines } from "./csv";
import { HEAD_BYTES, type Head, textOf } from "./head";
import { indented } from "./json";
import { isBinary, pictureType, type PreviewKind, previewKind, reasonForNone } from "./kind";
import { PatchView } from "./PatchView";
import styles from "./Preview.module.css";
import { sizeText } from "./sizes";
import { useHead } from "./useHead";

export interface Previewed {
  id: string;
  path: string;
  sizeBytes: number;
}

const PICTURE_MOST = 16 * 1024 * 1024;

/** What the beginning of a file shows, always as data: nothing in it is run, nor made into markup. */
export function Preview({ artifact }: { artifact: Previewed }) {
  const kind = previewKind(artifact.path);
  if (kind === "none") {
    return <p className="muted">{reasonForNone(artifact.path)}</p>;
  }
  return kind === "image" ? <Picture artifact={artifact} /> : <Text artifact={artifact} kind={kind} />;
}

function Text({ artifact, kind }: { artifact: Previewed; kind: Exclude<PreviewKind, "none" | "image"> }) {
  const { head, failure } = useHead(artifact, HEAD_BYTES);
  if (failure !== null) {
    return <p role="alert">{failure}</p>;
  }
  if (head === null) {
    return <p className="muted">Reading…</p>;
  }
  if (head.bytes.length === 0) {
    return <p className="muted">The file is empty.</p>;
  }
  if (isBinary(head.bytes)) {
    return <p className="muted">Its bytes are no text, whatever its name says.</p>;
  }
  return (
    <>
      <Body head={head} kind={kind} path={artifact.path} />
      {!head.isWhole && (
        <p className={styles.cut}>
          The first {sizeText(HEAD_BYTES)} of {sizeText(artifact.sizeBytes)}. Download it for the rest.
        </p>
      )}
    </>
  );
}

function Body({ head, kind, path }: { head: Head; kind: PreviewKind; path: string }) {
  const text = useMemo(() => textOf(head), [head]);
  switch (kind) {
    case "csv":
      return <Table text={head.isWhole ? text : wholeLines(text)} separator={/\.tsv$/i.test(path) ? "\t" : ","} />;
    case "json":
      return <Lines text={indented(text) ?? text} />;
    case "patch":
      return <PatchView patch={text} />;
    default:
      return <Lines text={text} />;
  }
}

function Lines({ text }: { text: string }) {
  return (
    <pre className={styles.lines} role="region" aria-label="Text" tabIndex={0}>
      {text}
    </pre>
  );
}

const ROWS_MOST = 200;
const COLUMNS_MOST = 50;

function Table({ text, separator }: { text: string; separator: string }) {
  const rows = useMemo(() => csvRows(text, separator, ROWS_MOST + 2), [text, separator]);
  const [names = [], ...values] = rows;
  const shown = values.slice(0, ROWS_MOST);
  const isCut = values.length > ROWS_MOST || names.length > COLUMNS_MOST;
  return (
    <>
      <div className={styles.scroller} role="region" aria-label="Table" tabIndex={0}>
        <table className={styles.table}>
          <thead>
            <tr>
              {names.slice(0, COLUMNS_MOST).map((name, column) => (
                <th key={column} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row, index) => (
              <tr key={index}>
                {row.slice(0, COLUMNS_MOST).map((value, column) => (
                  <td key={column}>{value}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className={styles.cut}>
        {isCut ? `The first ${wholeNumber(shown.length)} rows and ${wholeNumber(Math.min(names.length, COLUMNS_MOST))} of ${counted(names.length, "column")}` : `${counted(shown.length, "row")}, ${counted(names.length, "column")}`}
      </p>
    </>
  );
}

function Picture({ artifact }: { artifact: Previewed }) {
  const [isWanted, setWanted] = useState(artifact.sizeBytes <= HEAD_BYTES);
  const { head, failure } = useHead(isWanted ? artifact : null, PICTURE_MOST);
  const source = useMemo(() => (head === null ? null : dataUrl(head.bytes)), [head]);
  if (artifact.sizeBytes > PICTURE_MOST) {
    return <p className="muted">Pictures above {sizeText(PICTURE_MOST)} are for downloading.</p>;
  }
  if (!isWanted) {
    return (
      <button type="button" onClick={() => setWanted(true)}>
        Show the picture ({sizeText(artifact.sizeBytes)})
      </button>
    );
  }
  if (failure !== null) {
    return <p role="alert">{failure}</p>;
  }
  if (head === null) {
    return <p className="muted">Reading…</p>;
  }
  return source === null ? <p className="muted">Its bytes are neither PNG nor JPEG, whatever its name says.</p> : <img className={styles.picture} src={source} alt={artifact.path} />;
}

const CHUNK = 8192;

/** The picture inside an address of its own; null for bytes that are none. */
function dataUrl(bytes: Uint8Array): string | null {
  const type = pictureType(bytes);
  if (type === null) {
    return null;
  }
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return `data:${type};base64,${btoa(binary)}`;
}
