import { CopyButton } from "../run/CopyButton";
import styles from "./Settings.module.css";

/** How a machine logs its first run with the token, for a shell. */
const firstRun = (secret: string) => `export RUNSTONE_URL=${location.origin}
export RUNSTONE_TOKEN=${secret}
python - <<'END'
import runstone
with runstone.start_run(experiment="hello", params={"lr": 0.01}) as run: run.log({"loss": 0.5}, step=1)
END
`;

/** A secret, shown this once. */
export function NewSecret({ secret, onDone }: { secret: string; onDone: () => void }) {
  return (
    <section className={styles.secret} aria-label="The new token" role="status">
      <p>
        <strong>Copy it now: it is not shown again.</strong>
      </p>
      <pre tabIndex={0}>{secret}</pre>
      <CopyButton text={secret} name="Copy the token" className="primary" />
      <p className="muted">A first run with it:</p>
      <pre tabIndex={0}>{firstRun(secret)}</pre>
      <div className={styles.form}>
        <CopyButton text={firstRun(secret)} name="Copy the script" />
        <button type="button" onClick={onDone}>
          Done
        </button>
      </div>
    </section>
  );
}
