import { type FormEvent, useState } from "react";
import { useMutation } from "urql";
import { type ProjectsQuery, RemoveMemberDocument, type Role, SetMemberDocument } from "../api/gql";
import lists from "../run/Lists.module.css";
import { Moment } from "../run/Moment";
import { failureOf } from "./failure";
import { Refusal } from "./Refusal";
import { RoleOptions } from "./RoleOptions";
import { ROLE_CHOICES, ROLES } from "./roles";
import styles from "./Settings.module.css";

type Project = ProjectsQuery["viewer"]["memberships"][number]["project"];

interface Props {
  project: Project;
  /** Whether the viewer may change them. */
  isOwner: boolean;
  onChanged: () => void;
}

/** Who may do what in a project; owners let others in and out. */
export function Members({ project, isOwner, onChanged }: Props) {
  const [, setMember] = useMutation(SetMemberDocument);
  const [, removeMember] = useMutation(RemoveMemberDocument);
  const [failure, setFailure] = useState<string | null>(null);

  function done(refused: string | null): void {
    setFailure(refused);
    onChanged();
  }
  async function give(account: string, role: Role): Promise<void> {
    const { data, error } = await setMember({ input: { projectId: project.id, account, role } });
    done(failureOf(error, data?.setMember));
  }
  async function remove(accountId: string): Promise<void> {
    const { data, error } = await removeMember({ input: { projectId: project.id, accountId } });
    done(failureOf(error, data?.removeMember));
  }
  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    void give(String(given.get("account")), String(given.get("role")) as Role);
  }

  return (
    <section className={styles.section} aria-label={`Members of ${project.name}`}>
      <h2>Members of {project.name}</h2>
      <div className={lists.scroller} role="region" aria-label={`Table of the members of ${project.name}`} tabIndex={0}>
        <table className={lists.table}>
          <tbody>
            {project.members.map(({ account, role, grantedAt }) => (
              <tr key={account.id}>
                <th scope="row">{account.name}</th>
                <td>
                  {isOwner ? <RoleChoice label={`Role of ${account.name}`} value={role} onChange={(chosen) => void give(account.name, chosen)} /> : ROLES[role]}
                </td>
                <td className="muted">
                  since <Moment at={grantedAt} />
                </td>
                <td>
                  {isOwner && (
                    <button type="button" className="plain" aria-label={`Remove ${account.name}`} onClick={() => void remove(account.id)}>
                      Remove
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {isOwner && (
        <form className={styles.form} onSubmit={submit}>
          <label>
            <span>account</span>
            <input type="text" name="account" required autoComplete="off" />
          </label>
          <label>
            <span>role</span>
            <select name="role" defaultValue="VIEWER">
              <RoleOptions />
            </select>
          </label>
          <button type="submit">Let in</button>
        </form>
      )}
      <Refusal text={failure} />
    </section>
  );
}

function RoleChoice({ label, value, onChange }: { label: string; value: Role; onChange: (role: Role) => void }) {
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.target.value as Role)}>
      {ROLE_CHOICES.map(({ role }) => (
        <option key={role} value={role}>
          {ROLES[role]}
        </option>
      ))}
    </select>
  );
}
