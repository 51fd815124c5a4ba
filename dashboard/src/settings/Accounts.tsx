import { type FormEvent, useState } from "react";
import { useMutation, useQuery } from "urql";
import { said } from "../api/client";
import {
  AccountsDocument,
  type AccountsQuery,
  CreateAccountDocument,
  ReplaceTokensDocument,
  type Role,
  SetAccountDocument,
  type SetAccountInput,
} from "../api/gql";
import lists from "../run/Lists.module.css";
import { Moment } from "../run/Moment";
import { Problem } from "../ui/Problem";
import { type Access, AccessLink } from "./AccessLink";
import { failureOf } from "./failure";
import { Refusal } from "./Refusal";
import { RoleOptions } from "./RoleOptions";
import styles from "./Settings.module.css";
import { SureButton } from "./SureButton";

type Account = AccountsQuery["accounts"]["nodes"][number];

/** Everybody who has an account, and a way to let somebody in or out; for those who manage the instance. */
export function Accounts() {
  const [search, setSearch] = useState("");
  const [{ data, error }, again] = useQuery({ query: AccountsDocument, variables: { search } });
  const [access, setAccess] = useState<Access | null>(null);
  const refresh = () => again({ requestPolicy: "network-only" });
  function give(made: Access): void {
    setAccess(made);
    refresh();
  }
  if (error) {
    return <Problem title="The accounts cannot be shown" advice={said(error)} onRetry={refresh} />;
  }
  if (!data) {
    return null;
  }
  const { viewer, accounts } = data;
  const owned = viewer.memberships.filter(({ role }) => role === "OWNER").map(({ project }) => project);
  return (
    <>
      <NewAccount projects={owned} onMade={give} />
      {access !== null && <AccessLink access={access} onDone={() => setAccess(null)} />}
      <section className={styles.section} aria-label="Accounts">
        <input type="search" aria-label="Find accounts" placeholder="Find accounts" value={search} onChange={(event) => setSearch(event.target.value)} />
        <div className={lists.scroller} role="region" aria-label="Table of accounts" tabIndex={0}>
          <table className={lists.table}>
            <thead>
              <tr>
                <th scope="col">account</th>
                <th scope="col">made</th>
                <th scope="col">last used</th>
                <th scope="col">
                  <span className="out-of-sight">change</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {accounts.nodes.map((account) => (
                <AccountRow key={account.id} account={account} isViewer={account.id === viewer.id} onReplaced={give} />
              ))}
            </tbody>
          </table>
        </div>
        {accounts.totalCount > accounts.nodes.length && (
          <p className="muted">
            The first {accounts.nodes.length} of {accounts.totalCount}; a part of the name finds the others.
          </p>
        )}
      </section>
    </>
  );
}

interface NewAccountProps {
  projects: readonly { id: string; name: string }[];
  onMade: (access: Access) => void;
}

function NewAccount({ projects, onMade }: NewAccountProps) {
  const [, create] = useMutation(CreateAccountDocument);
  const [failure, setFailure] = useState<string | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    const input = { name: String(given.get("name")), projectId: String(given.get("project")) || null, role: String(given.get("role")) as Role };
    const { data, error } = await create({ input });
    const answer = data?.createAccount;
    setFailure(failureOf(error, answer));
    if (answer?.__typename === "CreateAccountPayload") {
      form.reset();
      onMade({ name: answer.account.name, link: answer.link });
    }
  }

  return (
    <section className={styles.section} aria-label="New account">
      <h2>New account</h2>
      <form className={styles.form} onSubmit={(event) => void submit(event)}>
        <label>
          <span>name</span>
          <input type="text" name="name" required autoComplete="off" placeholder="bob" />
        </label>
        <label>
          <span>project</span>
          <select name="project">
            {projects.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
            <option value="">none yet</option>
          </select>
        </label>
        <label>
          <span>may there</span>
          <select name="role" defaultValue="EDITOR">
            <RoleOptions />
          </select>
        </label>
        <button type="submit" className="primary">
          Create
        </button>
      </form>
      <Refusal text={failure} />
    </section>
  );
}

interface RowProps {
  account: Account;
  isViewer: boolean;
  onReplaced: (access: Access) => void;
}

function AccountRow({ account, isViewer, onReplaced }: RowProps) {
  const [, set] = useMutation(SetAccountDocument);
  const [, replace] = useMutation(ReplaceTokensDocument);
  const [failure, setFailure] = useState<string | null>(null);
  const [isNaming, setNaming] = useState(false);
  const { id: accountId, name, isAdmin, disabledAt, lastUsedAt } = account;

  async function change(wanted: Omit<SetAccountInput, "accountId">): Promise<void> {
    // The head of the page says the viewer's name, and asks again.
    const { data, error } = await set({ input: { accountId, ...wanted } }, { additionalTypenames: ["Viewer"] });
    setFailure(failureOf(error, data?.setAccount));
  }
  function rename(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    setNaming(false);
    void change({ name: String(new FormData(event.currentTarget).get("name")) });
  }
  async function renew(): Promise<void> {
    const { data, error } = await replace({ input: { accountId } });
    const answer = data?.replaceTokens;
    setFailure(failureOf(error, answer));
    if (answer?.__typename === "ReplaceTokensPayload") {
      onReplaced({ name, link: answer.link });
    }
  }

  return (
    <tr>
      <th scope="row">
        {isNaming ? (
          <form className={styles.form} onSubmit={rename}>
            <input type="text" name="name" aria-label={`New name of ${name}`} defaultValue={name} required autoComplete="off" />
            <button type="submit">Save</button>
          </form>
        ) : (
          <>
            {name} <span className="muted">{[isViewer && "you", isAdmin && "administrator"].filter(Boolean).join(", ")}</span>
          </>
        )}
      </th>
      <td>
        <Moment at={account.createdAt} />
      </td>
      <td>
        {disabledAt !== null ? (
          <>
            disabled <Moment at={disabledAt} />
          </>
        ) : lastUsedAt === null ? (
          "not yet"
        ) : (
          <Moment at={lastUsedAt} />
        )}
      </td>
      <td>
        <button type="button" className="plain" aria-label={`Rename ${name}`} onClick={() => setNaming(!isNaming)}>
          Rename
        </button>
        {disabledAt !== null ? (
          <button type="button" className="plain" aria-label={`Let in ${name}`} onClick={() => void change({ isDisabled: false })}>
            Let in
          </button>
        ) : (
          !isViewer && (
            <>
              <SureButton does="Replace tokens" to={`of ${name}`} onSure={() => void renew()} />
              <SureButton does="Disable" to={name} onSure={() => void change({ isDisabled: true })} />
              {isAdmin ? (
                <SureButton does="Make user" to={`of ${name}`} onSure={() => void change({ isAdmin: false })} />
              ) : (
                <SureButton does="Make administrator" to={`of ${name}`} onSure={() => void change({ isAdmin: true })} />
              )}
            </>
          )
        )}
        <Refusal text={failure} />
      </td>
    </tr>
  );
}
