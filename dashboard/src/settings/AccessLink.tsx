import { CopyButton } from "../run/CopyButton";
import styles from "./Settings.module.css";

/** The way in with a new token of somebody else's. */
export interface Access {
  name: string;
  link: string;
}

/** The link by which somebody gets in, shown this once. */
export function AccessLink({ access: { name, link }, onDone }: { access: Access; onDone: () => void }) {
  return (
    <section className={styles.secret} aria-label="The new access" role="status">
      <p>
        <strong>Send {name} this link: it is not shown again.</strong> It opens this page as {name}; scripts take what is behind <code>token=</code> as{" "}
        <code>RUNSTONE_TOKEN</code>.
      </p>
      <pre tabIndex={0}>{link}</pre>
      <div className={styles.form}>
        <CopyButton text={link} name="Copy the link" className="primary" />
        <button type="button" onClick={onDone}>
          Done
        </button>
      </div>
    </section>
  );
}
