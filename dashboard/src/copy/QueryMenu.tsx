import { Popover } from "../ui/Popover";
import styles from "./CopyMenu.module.css";
import { QueryItems } from "./QueryItems";
import type { Operation } from "./texts";
import { useCopy } from "./useCopy";

/** The query behind a part of a page, to be taken along; `name` tells this button from those of other parts. */
export function QueryMenu({ name, operation }: { name: string; operation: Operation }) {
  const { said, copy } = useCopy();
  return (
    <>
      <span role="status" className="muted">
        {said}
      </span>
      <Popover label="GraphQL" name={name} className="plain">
        {(close) => (
          <div className={styles.menu}>
            <QueryItems operation={operation} copy={copy} onDone={close} />
          </div>
        )}
      </Popover>
    </>
  );
}
