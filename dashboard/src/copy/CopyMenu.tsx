import { useState } from "react";
import { useShortcuts } from "../ui/Keys";
import { Popover } from "../ui/Popover";
import styles from "./CopyMenu.module.css";
import { asGraphQL, asPython, inGraphiQL, type Operation } from "./texts";

const SAID_MS = 2000;

/** Ways to take a view along: its link, its query, the query as a script. */
export function CopyMenu({ operation }: { operation: Operation }) {
  const [said, setSaid] = useState("");

  async function copy(what: string, text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      setSaid(`${what} copied`);
    } catch {
      setSaid("The browser does not let this page copy");
    }
    setTimeout(() => setSaid(""), SAID_MS);
  }

  const link = () => copy("Link", location.href);
  const graphql = () => copy("GraphQL", asGraphQL(operation));
  useShortcuts([
    { keys: "y", does: "copy link", run: () => void link() },
    { keys: "Y", does: "copy as GraphQL", run: () => void graphql() },
  ]);

  return (
    <>
      <span role="status" className="muted">
        {said}
      </span>
      <Popover label="Share">
        {(close) => {
          const item = (label: string, run: () => Promise<void>) => (
            <button type="button" className="plain" onClick={() => void run().then(close)}>
              {label}
            </button>
          );
          return (
            <div className={styles.menu}>
              {item("Copy link", link)}
              {item("Copy as GraphQL", graphql)}
              {item("Copy as Python", () => copy("Python", asPython(operation)))}
              <a className="button plain" href={inGraphiQL(operation)} target="_blank" rel="noreferrer">
                Open in GraphiQL
              </a>
            </div>
          );
        }}
      </Popover>
    </>
  );
}
