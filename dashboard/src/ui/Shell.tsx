import type { ReactNode } from "react";
import { useQuery } from "urql";
import { Link, useLocation } from "wouter";
import { ShellDocument } from "../api/gql";
import { keepTheme, useTheme } from "../state/theme";
import { update } from "../state/view";
import { useShortcuts, useShowKeys } from "./Keys";
import mark from "./mark.svg";
import { Popover } from "./Popover";
import styles from "./Shell.module.css";

interface Props {
  onChangeToken: () => void;
  children: ReactNode;
}

/** What is around every page: where you are, who you are, how it looks. */
export function Shell({ onChangeToken, children }: Props) {
  const [{ data }] = useQuery({ query: ShellDocument, variables: {} });
  const [path, navigate] = useLocation();
  const theme = useTheme();
  const showKeys = useShowKeys();

  const openGraphiQL = () => void open("/graphiql");
  function changeTheme(): void {
    const other = theme === "dark" ? "light" : "dark";
    keepTheme(other);
    update({ theme: null }, { replace: true });
  }
  useShortcuts([
    { keys: "g e", does: "experiments", run: () => navigate("/") },
    { keys: "g q", does: "GraphiQL", run: openGraphiQL },
    { keys: "t", does: "light or dark", run: changeTheme },
  ]);

  return (
    <div className={styles.shell}>
      <header className={styles.bar}>
        <Link href="/" className={styles.brand}>
          <img src={mark} alt="" width="18" height="18" />
          Runstone
        </Link>
        <nav aria-label="Main">
          <Link href="/" aria-current={path === "/" ? "page" : undefined}>
            Experiments
          </Link>
          <a href="/graphiql" target="_blank" rel="opener">
            GraphiQL
          </a>
        </nav>
        <button type="button" className="plain" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick={showKeys}>
          ?
        </button>
        <button type="button" className="plain" title="Light or dark (t)" aria-label={`Change to ${theme === "dark" ? "light" : "dark"}`} onClick={changeTheme}>
          {theme === "dark" ? "☾" : "☀"}
        </button>
        <Popover className={`plain ${styles.you}`} label={<span>{data?.viewer.name ?? "…"}</span>} name={`You: ${data?.viewer.name ?? "…"}`}>
          {(close) => (
            <div className={styles.menu}>
              <Link className="button plain" href="/settings/tokens" onClick={close}>
                Tokens and projects
              </Link>
              <button
                type="button"
                className="plain"
                onClick={() => {
                  close();
                  onChangeToken();
                }}
              >
                Change the access token
              </button>
              <span className="muted">Runstone {data?.serverInfo.version}</span>
            </div>
          )}
        </Popover>
      </header>
      <main className={styles.page}>{children}</main>
    </div>
  );
}
