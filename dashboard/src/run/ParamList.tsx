import { useState } from "react";
import { said } from "../api/client";
import { RunParamsDocument, type RunPageQuery } from "../api/gql";
import { wholeNumber } from "../charts/numbers";
import { paramText } from "../diff/rows";
import styles from "./Lists.module.css";
import { usePages } from "./usePages";

type Run = NonNullable<RunPageQuery["run"]>;

/** The params of a run, to be searched. */
export function ParamList({ run }: { run: Run }) {
  const [search, setSearch] = useState("");
  const { nodes, more, error } = usePages(run.params, async (client, after) => {
    const { data, error: failure } = await client.query(RunParamsDocument, { id: run.id, after });
    return { page: data?.run?.params, error: failure };
  }, search !== "");
  const wanted = search.toLowerCase();
  const shown = nodes
    .map(({ key, value, type }) => ({ key, text: paramText(value, type), type }))
    .filter(({ key, text }) => `${key} ${text}`.toLowerCase().includes(wanted));
  return (
    <section className={styles.section} aria-label="Params">
      <header>
        <h2>Params</h2>
        <span className="muted">{wholeNumber(run.params.totalCount)}</span>
        {nodes.length > 0 && <input type="search" placeholder="Filter" aria-label="Filter params" value={search} onChange={(event) => setSearch(event.target.value)} />}
      </header>
      {nodes.length === 0 && <p className="muted">None were logged.</p>}
      <table className={styles.table}>
        <tbody>
          {shown.map(({ key, text, type }) => (
            <tr key={key}>
              <th scope="row">{key}</th>
              <td className={styles.value} title={type.toLowerCase()}>
                {text}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {nodes.length > 0 && shown.length === 0 && !more && <p className="muted">None is called so.</p>}
      {more && (
        <button type="button" onClick={more}>
          Show more
        </button>
      )}
      {error && <p role="alert">{said(error)}</p>}
    </section>
  );
}
