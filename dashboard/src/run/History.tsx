import { useMemo } from "react";
import { useQuery } from "urql";
import { said } from "../api/client";
import { RunHistoryDocument, type RunPageQuery } from "../api/gql";
import { counted } from "../charts/numbers";
import { Problem } from "../ui/Problem";
import { happenings } from "./events";
import styles from "./History.module.css";
import lists from "./Lists.module.css";
import { Moment } from "./Moment";

type Run = NonNullable<RunPageQuery["run"]>;

/** What happened to a run, the newest first. */
export function History({ run }: { run: Run }) {
  const [{ data, error }, again] = useQuery({ query: RunHistoryDocument, variables: { id: run.id }, requestPolicy: "cache-and-network" });
  const history = data?.run;
  const events = useMemo(() => (history ? happenings(history) : []), [history]);
  if (error) {
    return <Problem title="The history cannot be shown" advice={said(error)} onRetry={() => again({ requestPolicy: "network-only" })} />;
  }
  const isCut = history && history.artifacts.totalCount > history.artifacts.nodes.length;
  return (
    <section className={styles.page} aria-label="History">
      <div className={lists.scroller} role="region" aria-label="Events" tabIndex={0}>
        <table className={lists.table}>
          <thead>
            <tr>
              <th scope="col">when</th>
              <th scope="col">what</th>
              <th scope="col">detail</th>
              <th scope="col">who</th>
            </tr>
          </thead>
          <tbody>
            {events.map(({ at, what, detail, who }, index) => (
              <tr key={index}>
                <td className={styles.when}>
                  <Moment at={at} />
                </td>
                <td className={styles.what}>{what}</td>
                <td className={lists.value}>{detail}</td>
                <td className="muted">{who}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {isCut && <p className="muted">Of {counted(history.artifacts.totalCount, "file")} the first {history.artifacts.nodes.length} by path.</p>}
    </section>
  );
}
