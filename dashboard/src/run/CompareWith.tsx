import { useState } from "react";
import { useQuery } from "urql";
import { Link } from "wouter";
import { said } from "../api/client";
import { type RunPageQuery, type RunSelection, RunsToCompareDocument } from "../api/gql";
import { EMPTY } from "../state/url";
import { addressOf } from "../state/view";
import { StatusBadge } from "../ui/Badge";
import { Popover } from "../ui/Popover";
import styles from "./CompareWith.module.css";

type Run = NonNullable<RunPageQuery["run"]>;

/** A way to the differences between this run and another of its experiment. */
export function CompareWith({ run }: { run: Run }) {
  return <Popover label="Compare with…">{() => <Choices run={run} />}</Popover>;
}

function Choices({ run }: { run: Run }) {
  const [search, setSearch] = useState("");
  const select: RunSelection = {
    experimentIds: [run.experiment.id],
    ...(search && { filter: { attribute: { name: { ilike: `%${search.replace(/[\\%_]/g, "\\$&")}%` } } } }),
  };
  const [{ data, error }] = useQuery({ query: RunsToCompareDocument, variables: { select } });
  const others = data?.runs.nodes.filter(({ id }) => id !== run.id) ?? [];
  return (
    <div className={styles.box}>
      <input type="search" placeholder={`Runs of ${run.experiment.name}`} aria-label="Search runs by name" autoFocus value={search} onChange={(event) => setSearch(event.target.value)} />
      {error && <p role="alert">{said(error)}</p>}
      <ul>
        {others.map(({ id, name, status, createdBy }) => (
          <li key={id}>
            <Link href={addressOf("/compare/diff", { ...EMPTY, sel: [run.id, id] })}>
              <span>{name}</span>
              <span className="muted">{createdBy.name}</span>
              <StatusBadge status={status} />
            </Link>
          </li>
        ))}
      </ul>
      {data && others.length === 0 && <p className="muted">There is no other run of this name.</p>}
    </div>
  );
}
