import { useMemo } from "react";
import { counted } from "../charts/numbers";
import { patchLines, summaryOf } from "./patch";
import styles from "./PatchView.module.css";

/** A unified diff with its line numbers. */
export function PatchView({ patch }: { patch: string }) {
  const lines = useMemo(() => patchLines(patch), [patch]);
  const { files, added, removed } = useMemo(() => summaryOf(lines), [lines]);
  return (
    <>
      <p className={styles.summary}>
        {counted(files, "file")} <span className={styles.plus}>+{added}</span> <span className={styles.minus}>−{removed}</span>
      </p>
      <div className={styles.scroller} role="region" aria-label="Patch" tabIndex={0}>
        <pre className={styles.patch}>
          {lines.map(({ kind, text, before, after }, index) => (
            <span key={index} className={styles[kind]}>
              <i data-number={before ?? ""} />
              <i data-number={after ?? ""} />
              {text || " "}
              {"\n"}
            </span>
          ))}
        </pre>
      </div>
    </>
  );
}
