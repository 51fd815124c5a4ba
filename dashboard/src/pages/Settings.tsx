import { Link } from "wouter";
import { Projects } from "../settings/Projects";
import styles from "../settings/Settings.module.css";
import { Tokens } from "../settings/Tokens";

const TABS = [
  { path: "tokens", word: "Tokens" },
  { path: "projects", word: "Projects and members" },
] as const;

/** Tokens, projects and their members. */
export default function Settings({ tab }: { tab: string }) {
  const shown = tab === "projects" ? "projects" : "tokens";
  return (
    <div className={styles.page}>
      <h1>Settings</h1>
      <nav aria-label="Settings">
        {TABS.map(({ path, word }) => (
          <Link key={path} href={`/settings/${path}`} aria-current={path === shown ? "page" : undefined}>
            {word}
          </Link>
        ))}
      </nav>
      {shown === "projects" ? <Projects /> : <Tokens />}
    </div>
  );
}
