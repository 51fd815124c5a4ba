import styles from "./FirstRun.module.css";

/** What a server or an experiment without runs shows: how to log the first. */
export function FirstRun({ experiment }: { experiment: string | null }) {
  const snippet = `import runstone

with runstone.start_run(experiment=${JSON.stringify(experiment ?? "first")}, params={"lr": 0.01}) as run:
    for step in range(100):
        run.log({"loss": 1 / (step + 1)}, step=step)`;
  return (
    <div className={styles.first}>
      <h2>{experiment === null ? "No runs yet" : `No runs in ${experiment} yet`}</h2>
      <p className="muted">This logs one; it appears here while it runs.</p>
      <pre>{snippet}</pre>
      <p className="muted">
        Install the SDK with <code>pip install runstone</code>. It finds a server on this machine by itself; for another one set{" "}
        <code>RUNSTONE_URL={location.origin}</code> and <code>RUNSTONE_TOKEN</code>.
      </p>
    </div>
  );
}
