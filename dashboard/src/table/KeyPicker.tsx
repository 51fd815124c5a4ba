import { useState } from "react";
import { type Column, isSame, type Stat } from "../state/url";
import { ATTRIBUTE_COLUMNS, keyOf, label } from "./columns";
import { count } from "./format";
import styles from "./KeyPicker.module.css";
import type { Key } from "./useKeys";

const STATS: readonly Stat[] = ["LAST", "MIN", "MAX"];
const AREAS = { ATTRIBUTE: "About the run", METRIC: "Metrics", PARAM: "Params", TAG: "Tags", SOURCE: "Source" } as const;

interface Props {
  /** What the selected runs have; null while it is not known. */
  keys: readonly Key[] | null;
  chosen: readonly Column[];
  onToggle: (column: Column) => void;
  /** Whether metrics can be chosen, and which of their values. */
  withMetrics: boolean;
}

/** All that a column can be, to be searched and chosen from. */
export function KeyPicker({ keys, chosen, onToggle, withMetrics }: Props) {
  const [search, setSearch] = useState("");
  const isFound = (text: string) => text.toLowerCase().includes(search.trim().toLowerCase());
  const attributes = ATTRIBUTE_COLUMNS.map((column): Key => ({ ...column, distinct: null, differs: true }));
  const found = [...attributes, ...(keys ?? [])].filter(({ area, key }) => (withMetrics || area !== "METRIC") && isFound(label({ area, key, stat: "LAST" })));
  const isChosen = (column: Column) => chosen.some((one) => isSame(one, column));

  return (
    <div className={styles.picker}>
      <input type="search" autoFocus aria-label="Search keys" placeholder="Search" value={search} onChange={(event) => setSearch(event.target.value)} />
      <div className={styles.list}>
        {Object.entries(AREAS).map(([area, title]) => {
          const these = found.filter((key) => key.area === area);
          return (
            these.length > 0 && (
              <fieldset key={area}>
                <legend>{title}</legend>
                {these.map((key) => (
                  <Choice key={keyOf(key)} of={key} isChosen={isChosen} onToggle={onToggle} />
                ))}
              </fieldset>
            )
          );
        })}
        {keys === null && <p className="muted">Looking for keys …</p>}
        {keys !== null && found.length === 0 && <p className="muted">No run has such a key.</p>}
      </div>
    </div>
  );
}

function Choice({ of: { distinct, differs, ...column }, isChosen, onToggle }: { of: Key; isChosen: (column: Column) => boolean; onToggle: (column: Column) => void }) {
  const stats = column.area === "METRIC" ? STATS : (["LAST"] as const);
  const title = distinct === null ? undefined : `${count(distinct)} value${distinct === 1 ? "" : "s"}`;
  return (
    <div className={differs ? styles.choice : styles.same} title={title}>
      {column.area === "METRIC" ? (
        <>
          <span className={styles.key}>{column.key}</span>
          {stats.map((stat) => (
            <label key={stat}>
              <input type="checkbox" aria-label={`${column.key} ${stat.toLowerCase()}`} checked={isChosen({ ...column, stat })} onChange={() => onToggle({ ...column, stat })} />
              {stat.toLowerCase()}
            </label>
          ))}
        </>
      ) : (
        <label className={styles.key}>
          <input type="checkbox" checked={isChosen(column)} onChange={() => onToggle(column)} />
          <span>{label(column)}</span>
        </label>
      )}
    </div>
  );
}
