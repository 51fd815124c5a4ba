import type { RunStatus } from "../api/gql";
import styles from "./Badge.module.css";

interface Look {
  word: string;
  /** A shape of its own, so that colour is never the only difference. */
  mark: string;
  tone: "good" | "bad" | "warn" | "accent" | "muted";
}

const LOOKS: Record<RunStatus, Look> = {
  RUNNING: { word: "running", mark: "●", tone: "accent" },
  FINISHED: { word: "done", mark: "✓", tone: "good" },
  FAILED: { word: "failed", mark: "✕", tone: "bad" },
  KILLED: { word: "killed", mark: "■", tone: "warn" },
  LOST: { word: "lost", mark: "?", tone: "warn" },
};

/** The state of a run. */
export function StatusBadge({ status }: { status: RunStatus }) {
  const { word, mark, tone } = LOOKS[status];
  return (
    <span className={styles[tone]}>
      <span className={styles.mark} aria-hidden="true">
        {mark}
      </span>
      {word}
    </span>
  );
}
