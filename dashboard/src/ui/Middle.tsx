import styles from "./Middle.module.css";

const TAIL = 8;
const SHORT = 14;

/** A text that gives up its middle where there is no room: names of runs tend to differ at their end. */
export function Middle({ text }: { text: string }) {
  const letters = [...text];
  if (letters.length <= SHORT) {
    return <span className={styles.whole}>{text}</span>;
  }
  return (
    <span className={styles.middle} title={text}>
      <span>{letters.slice(0, -TAIL).join("")}</span>
      <span>{letters.slice(-TAIL).join("")}</span>
    </span>
  );
}
