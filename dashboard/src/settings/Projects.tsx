import { type FormEvent, useState } from "react";
import { useMutation, useQuery } from "urql";
import { said } from "../api/client";
import { CreateProjectDocument, ProjectsDocument, type ProjectsQuery } from "../api/gql";
import lists from "../run/Lists.module.css";
import { Moment } from "../run/Moment";
import { Problem } from "../ui/Problem";
import { failureOf } from "./failure";
import { Members } from "./Members";
import { Refusal } from "./Refusal";
import { ROLES } from "./roles";
import styles from "./Settings.module.css";

type Membership = ProjectsQuery["viewer"]["memberships"][number];

/** The projects that one belongs to, their members, and a way to a new one. */
export function Projects() {
  const [{ data, error }, again] = useQuery({ query: ProjectsDocument, variables: {} });
  const refresh = () => again({ requestPolicy: "network-only" });
  if (error) {
    return <Problem title="The projects cannot be shown" advice={said(error)} onRetry={refresh} />;
  }
  if (!data) {
    return null;
  }
  return (
    <>
      <section className={styles.section} aria-label="Projects">
        <div className={lists.scroller} role="region" aria-label="Table of projects" tabIndex={0}>
          <table className={lists.table}>
            <thead>
              <tr>
                <th scope="col">project</th>
                <th scope="col">your role</th>
                <th scope="col">about</th>
                <th scope="col">made</th>
              </tr>
            </thead>
            <tbody>
              {data.viewer.memberships.map((membership) => (
                <ProjectRow key={membership.project.id} membership={membership} />
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <NewProject onMade={refresh} />
      {data.viewer.memberships.map(({ project, role }) => (
        <Members key={project.id} project={project} isOwner={role === "OWNER"} onChanged={refresh} />
      ))}
    </>
  );
}

function ProjectRow({ membership: { project, role } }: { membership: Membership }) {
  return (
    <tr>
      <th scope="row">{project.name}</th>
      <td>{ROLES[role]}</td>
      <td>{project.description}</td>
      <td>
        <Moment at={project.createdAt} /> <span className="muted">by {project.createdBy.name}</span>
      </td>
    </tr>
  );
}

function NewProject({ onMade }: { onMade: () => void }) {
  const [, create] = useMutation(CreateProjectDocument);
  const [failure, setFailure] = useState<string | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    const { data, error } = await create({ input: { name: String(given.get("name")), description: String(given.get("description")) } });
    const refused = failureOf(error, data?.createProject);
    setFailure(refused);
    if (refused === null) {
      form.reset();
      onMade();
    }
  }

  return (
    <section className={styles.section} aria-label="New project">
      <h2>New project</h2>
      <form className={styles.form} onSubmit={(event) => void submit(event)}>
        <label>
          <span>name</span>
          <input type="text" name="name" required autoComplete="off" placeholder="vision" />
        </label>
        <label>
          <span>about</span>
          <input type="text" name="description" autoComplete="off" />
        </label>
        <button type="submit">Create</button>
      </form>
      <Refusal text={failure} />
    </section>
  );
}
