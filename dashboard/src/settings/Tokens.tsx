import { type FormEvent, useState } from "react";
import { useMutation, useQuery } from "urql";
import { said } from "../api/client";
import { CreateTokenDocument, type Role, RevokeTokenDocument, TokensDocument, type TokensQuery } from "../api/gql";
import lists from "../run/Lists.module.css";
import { Moment } from "../run/Moment";
import { Problem } from "../ui/Problem";
import { failureOf } from "./failure";
import { NewSecret } from "./NewSecret";
import { Refusal } from "./Refusal";
import { RoleOptions } from "./RoleOptions";
import { ROLES } from "./roles";
import { SureButton } from "./SureButton";
import styles from "./Settings.module.css";

type Token = TokensQuery["viewer"]["tokens"][number];

/** One's own tokens: made for a machine, with as little reach as it needs, and revoked. */
export function Tokens() {
  const [{ data, error }, again] = useQuery({ query: TokensDocument, variables: {} });
  const [secret, setSecret] = useState<string | null>(null);
  const refresh = () => again({ requestPolicy: "network-only" });
  if (error) {
    return <Problem title="The tokens cannot be shown" advice={said(error)} onRetry={refresh} />;
  }
  if (!data) {
    return null;
  }
  const { tokens, memberships } = data.viewer;
  return (
    <>
      <NewToken
        projects={memberships.map(({ project }) => project)}
        onMade={(made) => {
          setSecret(made);
          refresh();
        }}
      />
      {secret !== null && <NewSecret secret={secret} onDone={() => setSecret(null)} />}
      <section className={styles.section} aria-label="Tokens">
        <div className={lists.scroller} role="region" aria-label="Table of tokens" tabIndex={0}>
          <table className={lists.table}>
            <thead>
              <tr>
                <th scope="col">token</th>
                <th scope="col">project</th>
                <th scope="col">at most</th>
                <th scope="col">made</th>
                <th scope="col">last used</th>
                <th scope="col">ends</th>
                <th scope="col">
                  <span className="out-of-sight">revoke</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {tokens.map((token) => (
                <TokenRow key={token.id} token={token} onRevoked={refresh} />
              ))}
            </tbody>
          </table>
        </div>
      </section>
    </>
  );
}

function TokenRow({ token, onRevoked }: { token: Token; onRevoked: () => void }) {
  const [, revoke] = useMutation(RevokeTokenDocument);
  const [failure, setFailure] = useState<string | null>(null);
  const name = token.name || `rs_${token.id}`;

  async function end(): Promise<void> {
    const { data, error } = await revoke({ id: token.id });
    const refused = failureOf(error, data?.revokeToken);
    setFailure(refused);
    if (refused === null) {
      onRevoked();
    }
  }

  return (
    <tr>
      <th scope="row" title={`rs_${token.id}_…`}>
        {name} {token.isCurrent && <span className="muted">(this page uses it)</span>}
      </th>
      <td>{token.project?.name ?? "all of yours"}</td>
      <td>{token.role === null ? "what you may" : ROLES[token.role]}</td>
      <td>
        <Moment at={token.createdAt} />
      </td>
      <td>{token.lastUsedAt === null ? "not yet" : <Moment at={token.lastUsedAt} />}</td>
      <td>{token.expiresAt === null ? "never" : <Moment at={token.expiresAt} />}</td>
      <td>
        <SureButton does="Revoke" to={name} onSure={() => void end()} />
        <Refusal text={failure} />
      </td>
    </tr>
  );
}

interface NewTokenProps {
  projects: readonly { id: string; name: string }[];
  onMade: (secret: string) => void;
}

const DAYS = [7, 30, 90, 365];

function NewToken({ projects, onMade }: NewTokenProps) {
  const [, create] = useMutation(CreateTokenDocument);
  const [failure, setFailure] = useState<string | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    const chosen = (name: string) => String(given.get(name)) || null;
    const input = { name: String(given.get("name")), projectId: chosen("project"), role: chosen("role") as Role | null, days: Number(given.get("days")) };
    const { data, error } = await create({ input });
    const answer = data?.createToken;
    setFailure(failureOf(error, answer));
    if (answer?.__typename === "CreateTokenPayload") {
      form.reset();
      onMade(answer.secret);
    }
  }

  return (
    <section className={styles.section} aria-label="New token">
      <h2>New token</h2>
      <form className={styles.form} onSubmit={(event) => void submit(event)}>
        <label>
          <span>what for</span>
          <input type="text" name="name" required autoComplete="off" placeholder="gpu-box-3" />
        </label>
        <label>
          <span>project</span>
          <select name="project">
            <option value="">all of yours</option>
            {projects.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>may at most</span>
          <select name="role" defaultValue="LOGGER">
            <RoleOptions />
            <option value="">what you may</option>
          </select>
        </label>
        <label>
          <span>ends after</span>
          <select name="days" defaultValue="90">
            {DAYS.map((days) => (
              <option key={days} value={days}>
                {days} days
              </option>
            ))}
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
