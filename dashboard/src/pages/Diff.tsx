import { useDeferredValue, useMemo } from "react";
import { useQuery } from "urql";
import { said } from "../api/client";
import { DiffDocument, type RunSelection } from "../api/gql";
import { counted, wholeNumber } from "../charts/numbers";
import { DiffTable } from "../diff/DiffTable";
import { own, setOwn } from "../diff/own";
import { Patches } from "../diff/Patches";
import { found, rowsOf } from "../diff/rows";
import { selectionOf } from "../state/scope";
import { EMPTY, type View } from "../state/url";
import { addressOf, useView } from "../state/view";
import { useShortcuts } from "../ui/Keys";
import { Problem } from "../ui/Problem";
import styles from "./Diff.module.css";
import { RunsHeader } from "./RunsHeader";

export interface Props {
  /** null shows the selected runs of any experiment. */
  experiment: string | null;
}

/** The selected runs; without a selection those that the filter leaves; null for all there are, which says nothing. */
function comparedOf({ sel, q }: View, experiment: string | null): RunSelection | null {
  if (sel.length > 0) {
    return { runIds: [...sel] };
  }
  return experiment === null && q === "" ? null : selectionOf(experiment, q);
}

/** What differs between runs: params, metrics, tags, source, environment, packages, datasets and files, side by side. */
export default function Diff({ experiment }: Props) {
  const [view, update] = useView();
  const all = own(view, "all");
  const turned = own(view, "turn");
  const search = own(view, "find");
  const base = own(view, "base");
  const patch = own(view, "patch");
  const onlyDifferences = all === null;
  const select = useMemo(() => comparedOf(view, experiment), [view.sel, view.q, experiment]);
  const variables = useMemo(() => ({ select: select ?? {}, baselineId: base, onlyDifferences }), [select, base, onlyDifferences]);
  const [{ data, error, fetching }, again] = useQuery({ query: DiffDocument, variables, pause: select === null });
  const comparison = data?.compareRuns;
  const rows = useMemo(() => (comparison ? rowsOf(comparison, onlyDifferences) : []), [comparison, onlyDifferences]);
  const wanted = useDeferredValue(search ?? "");
  const shown = useMemo(() => found(rows, wanted), [rows, wanted]);

  const set = (changes: Record<string, string | null>, how?: { replace: boolean }) => setOwn(update, changes, how);
  const showAll = (isAll: boolean) => set({ all: isAll ? "1" : null });
  useShortcuts([
    { keys: "D", does: "only differences", run: () => showAll(onlyDifferences) },
    { keys: "/", does: "search the keys", run: () => document.getElementById("diff-search")?.focus() },
  ]);

  if (select === null) {
    return <Problem title="No runs are selected" advice="Select runs in the table of an experiment, then press d." />;
  }
  if (error && !comparison) {
    return <Problem title="These runs cannot be compared" advice={said(error)} onRetry={() => again({ requestPolicy: "network-only" })} />;
  }
  if (!comparison) {
    return <p className={styles.waiting}>{fetching ? "Comparing…" : ""}</p>;
  }
  if (patch !== null) {
    return <Patches comparison={comparison} shown={patch.split(",")} onShow={(ids) => set({ patch: ids.join(",") })} onClose={() => set({ patch: null })} />;
  }
  return (
    <div className={styles.page}>
      <RunsHeader experiment={experiment} tab="diff" operation={{ document: DiffDocument, variables }} />
      <div className={styles.tools}>
        <strong>{counted(comparison.runs.length, "run")}</strong>
        <label className={styles.choice}>
          <input type="checkbox" checked={onlyDifferences} onChange={(event) => showAll(!event.target.checked)} />
          Only differences
          <span className="muted">{`${wholeNumber(comparison.differingKeys)} of ${wholeNumber(comparison.totalKeys)} differ`}</span>
        </label>
        <input id="diff-search" type="search" placeholder="Search keys  /" aria-label="Search keys" value={search ?? ""} onChange={(event) => set({ find: event.target.value || null }, { replace: true })} />
        <label className={styles.choice}>
          Baseline
          <select value={comparison.baselineId} onChange={(event) => set({ base: event.target.value })}>
            {comparison.runs.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="button" aria-pressed={turned !== null} onClick={() => set({ turn: turned === null ? "1" : null })}>
          Runs as rows
        </button>
      </div>
      {shown.length > 0 ? (
        <DiffTable
          comparison={comparison}
          rows={shown}
          isTurned={turned !== null}
          onBaseline={(id) => set({ base: id })}
          onPatch={(id) => set({ patch: id })}
          filesHref={(path) => addressOf("/compare/artifacts", { ...EMPTY, q: view.q, sel: view.sel.length > 0 ? view.sel : comparison.runs.map(({ id }) => id).slice(0, 300), rest: [["path", path]] })}
        />
      ) : (
        <p className={styles.waiting}>
          {wanted ? `Nothing ${onlyDifferences ? "that differs " : ""}is called “${wanted}”.` : comparison.totalKeys === 0 ? "These runs recorded nothing yet." : "These runs are the same in everything they recorded."}
        </p>
      )}
    </div>
  );
}
