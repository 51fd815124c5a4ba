import { type ReactNode, useMemo } from "react";
import { Link } from "wouter";
import { wholeNumber } from "../charts/numbers";
import { DownloadButton } from "../preview/DownloadButton";
import { StatusBadge } from "../ui/Badge";
import styles from "./DiffTable.module.css";
import { Matrix } from "./Matrix";
import type { Cell, Comparison, Row, Section } from "./rows";

interface Props {
  comparison: Comparison;
  rows: readonly Row[];
  /** Runs as rows, keys as columns. */
  isTurned: boolean;
  onBaseline: (id: string) => void;
  onPatch: (id: string) => void;
  filesHref: (path: string) => string;
}

type Line = Row | { section: Section; count: number };

/** Each section's title before its rows. */
function withTitles(rows: readonly Row[]): Line[] {
  return rows.flatMap((row, index): Line[] => {
    const { section } = row;
    return rows[index - 1]?.section === section ? [row] : [{ section, count: rows.filter((other) => other.section === section).length }, row];
  });
}

/** Places of runs: the baseline, then the others in their order. */
function order(comparison: Comparison): number[] {
  const baseline = comparison.runs.findIndex(({ id }) => id === comparison.baselineId);
  return [baseline, ...[...comparison.runs.keys()].filter((run) => run !== baseline)];
}

/** Keys against runs, or runs against keys. */
export function DiffTable({ comparison, rows, isTurned, onBaseline, onPatch, filesHref }: Props) {
  const runs = useMemo(() => order(comparison), [comparison]);
  const lines = useMemo(() => withTitles(rows), [rows]);
  const baseline = runs[0]!;

  const runHead = (place: number) => <RunHead run={comparison.runs[runs[place]!]!} isBaseline={place === 0} isLine={isTurned} onBaseline={onBaseline} />;
  const keyHead = (row: Row, withSection: boolean) => <KeyHead row={row} withSection={withSection} href={row.section === "Files" || row.section === "Models" ? filesHref(row.key) : null} />;
  function cellOf(row: Row, place: number): ReactNode {
    const run = runs[place]!;
    const cell = row.cell(run);
    const { id, name } = comparison.runs[run]!;
    const hasPatch = row.section === "Source" && row.key === "patch" && comparison.patches[run] !== null;
    return (
      <div className={row.isOther(run, baseline) ? styles.other : styles.cell}>
        {cell === null ? <Absent /> : <CellText cell={cell} sameAs={cell.sameAs === null ? null : comparison.runs[cell.sameAs]!.name} />}
        {cell?.path && <DownloadButton small name={`${cell.path} of ${name}`} of={{ run: id, path: cell.path }} />}
        {hasPatch && (
          <button type="button" className="plain" aria-label={`View the patch of ${name}`} onClick={() => onPatch(id)}>
            view
          </button>
        )}
      </div>
    );
  }

  if (isTurned) {
    return <Matrix label="Differences" rowCount={runs.length} columnCount={rows.length} corner={<span className="muted">run</span>} columnHead={(column) => keyHead(rows[column]!, true)} rowHead={runHead} cell={(row, column) => cellOf(rows[column]!, row)} />;
  }
  return (
    <Matrix
      label="Differences"
      rowCount={lines.length}
      columnCount={runs.length}
      corner={<span className="muted">key</span>}
      columnHead={runHead}
      rowHead={(row) => keyHead(lines[row] as Row, false)}
      cell={(row, column) => cellOf(lines[row] as Row, column)}
      band={(row) => {
        const line = lines[row]!;
        return "count" in line ? (
          <>
            {line.section}&nbsp;<span className="muted">{wholeNumber(line.count)}</span>
          </>
        ) : null;
      }}
    />
  );
}

interface RunHeadProps {
  run: Comparison["runs"][number];
  isBaseline: boolean;
  /** All on one line, for the head of a row. */
  isLine: boolean;
  onBaseline: (id: string) => void;
}

function RunHead({ run, isBaseline, isLine, onBaseline }: RunHeadProps) {
  return (
    <div className={isLine ? styles.runLine : styles.runHead}>
      <Link href={`/r/${run.id}`} title={`${run.name} of ${run.experiment.name}`}>
        {run.name}
      </Link>
      <span className={styles.under}>
        <StatusBadge status={run.status} />
        {isBaseline ? (
          <span className="muted">baseline</span>
        ) : (
          <button type="button" className={`plain ${styles.quiet}`} aria-label={`Compare with ${run.name}`} title="Make this run the baseline" onClick={() => onBaseline(run.id)}>
            as baseline
          </button>
        )}
      </span>
    </div>
  );
}

function KeyHead({ row, withSection, href }: { row: Row; withSection: boolean; href: string | null }) {
  return (
    <div className={styles.keyHead}>
      {withSection && <small className="muted">{row.section}</small>}
      {href === null ? <span title={row.key}>{row.key}</span> : <Link href={href} title={`${row.key}: compare the files`}>{row.key}</Link>}
    </div>
  );
}

function Absent() {
  return (
    <span className="muted" title="This run has none">
      —
    </span>
  );
}

const VERDICTS = { better: "▲ better", worse: "▼ worse" };

function CellText({ cell, sameAs }: { cell: Cell; sameAs: string | null }) {
  const { text, full, verdict, note, isBest } = cell;
  return (
    <>
      <span className={sameAs === null ? styles.value : styles.same} title={full}>
        {sameAs === null ? text : `= identical to ${sameAs}`}
      </span>
      {note !== null && (
        <span className={styles.note} title={note.full}>
          {note.text}
        </span>
      )}
      {verdict !== null && (
        <span className={styles[verdict]} title={`${note?.full ?? ""}: ${verdict}`}>
          {VERDICTS[verdict]}
        </span>
      )}
      {isBest && (
        <span className={styles.best} title="The best last value of these runs">
          ★<span className="out-of-sight">best</span>
        </span>
      )}
    </>
  );
}
