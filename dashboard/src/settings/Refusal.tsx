import styles from "./Settings.module.css";

/** What was refused and why, once something was. */
export function Refusal({ text }: { text: string | null }) {
  return (
    text !== null && (
      <span role="alert" className={styles.failure}>
        {text}
      </span>
    )
  );
}
