import { useQuery } from "urql";
import { Link } from "wouter";
import { ShellDocument } from "../api/gql";
import { Accounts } from "../settings/Accounts";
import { Projects } from "../settings/Projects";
import styles from "../settings/Settings.module.css";
import { Tokens } from "../settings/Tokens";

const TOKENS = { path: "tokens", word: "Tokens", Page: Tokens };
const OWN = [TOKENS, { path: "projects", word: "Projects and members", Page: Projects }];
const ALL = [...OWN, { path: "accounts", word: "Accounts", Page: Accounts }];

/** Tokens, projects and their members; for those who manage the instance, accounts. */
export default function Settings({ tab }: { tab: string }) {
  const [{ data }] = useQuery({ query: ShellDocument, variables: {} });
  const tabs = data?.viewer.isAdmin ? ALL : OWN;
  const { path: shown, Page } = tabs.find(({ path }) => path === tab) ?? TOKENS;
  return (
    <div className={styles.page}>
      <h1>Settings</h1>
      <nav aria-label="Settings">
        {tabs.map(({ path, word }) => (
          <Link key={path} href={`/settings/${path}`} aria-current={path === shown ? "page" : undefined}>
            {word}
          </Link>
        ))}
      </nav>
      {data && <Page />}
    </div>
  );
}
