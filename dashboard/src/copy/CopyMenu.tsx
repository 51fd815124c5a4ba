import { write } from "../state/search";
import { useShortcuts } from "../ui/Keys";
import { Popover } from "../ui/Popover";
import styles from "./CopyMenu.module.css";
import { QueryItems } from "./QueryItems";
import { asGraphQL, type Operation } from "./texts";
import { useCopy } from "./useCopy";

/** Ways to take a view along: its link, its query, the query as a script. */
export function CopyMenu({ operation }: { operation: Operation }) {
  const { said, copy } = useCopy();
  const link = () => {
    write();
    return copy("Link", location.href);
  };
  useShortcuts([
    { keys: "y", does: "copy link", run: () => void link() },
    { keys: "Y", does: "copy as GraphQL", run: () => void copy("GraphQL", asGraphQL(operation)) },
  ]);

  return (
    <>
      <span role="status" className="muted">
        {said}
      </span>
      <Popover label="Share">
        {(close) => (
          <div className={styles.menu}>
            <button type="button" className="plain" onClick={() => void link().then(close)}>
              Copy link
            </button>
            <QueryItems operation={operation} copy={copy} onDone={close} />
          </div>
        )}
      </Popover>
    </>
  );
}
