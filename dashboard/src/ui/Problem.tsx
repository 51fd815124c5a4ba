import type { ReactNode } from "react";
import { Link } from "wouter";
import styles from "./Problem.module.css";

interface Props {
  title: string;
  advice: ReactNode;
  onRetry?: (() => void) | undefined;
}

/** What a page shows when it has nothing to show: what happened, and what to do. */
export function Problem({ title, advice, onRetry }: Props) {
  return (
    <div className={styles.problem} role="alert">
      <h2>{title}</h2>
      <p>{advice}</p>
      {onRetry ? (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      ) : (
        <Link href="/">All experiments</Link>
      )}
    </div>
  );
}
