import type { ReactNode } from "react";
import { useQuery } from "urql";
import { Link, useLocation } from "wouter";
import { ExperimentDocument } from "../api/gql";
import { CopyMenu } from "../copy/CopyMenu";
import { SavedViews } from "../copy/SavedViews";
import type { Operation } from "../copy/texts";
import type { Tab } from "../state/saved";
import { pathOf } from "../state/scope";
import { addressOf, useView } from "../state/view";
import { useShortcuts } from "../ui/Keys";
import { Middle } from "../ui/Middle";
import styles from "./RunsHeader.module.css";

interface Props {
  experiment: string | null;
  tab: Tab;
  /** What this view asks, for those who want to ask it elsewhere. */
  operation: Operation;
  /** More that can be done with the view. */
  children?: ReactNode;
}

/** The head of everything that shows many runs: which ones, and the ways to look at them. */
export function RunsHeader({ experiment, tab, operation, children }: Props) {
  const [{ data }] = useQuery({ query: ExperimentDocument, variables: { id: experiment ?? "" }, pause: experiment === null });
  const [view] = useView();
  const [, navigate] = useLocation();
  const to = (other: Tab) => addressOf(pathOf(experiment, other), view);
  useShortcuts([
    { keys: "c", does: "charts", run: () => navigate(to("charts")) },
    { keys: "d", does: "diff", run: () => navigate(to("diff")) },
  ]);

  const selected = view.sel.length > 0 ? ` (${view.sel.length})` : "";
  const tabs = [
    ["", "Table"],
    ["charts", `Charts${selected}`],
    ["diff", `Diff${selected}`],
  ] as const;
  return (
    <header className={styles.header}>
      <h1>
        {data?.experiment && <span className="muted">{data.experiment.project.name} / </span>}
        <Middle text={experiment === null ? "All runs" : (data?.experiment?.name ?? "…")} />
      </h1>
      <nav aria-label="Views">
        {tabs.map(([name, words]) => (
          <Link key={name} href={to(name)} aria-current={name === tab ? "page" : undefined}>
            {words}
          </Link>
        ))}
      </nav>
      <div className={styles.actions}>
        {children}
        {experiment !== null && <SavedViews experiment={experiment} tab={tab} />}
        <CopyMenu operation={operation} />
      </div>
    </header>
  );
}
