import { type SubmitEvent, useState } from "react";
import { useMutation, useQuery } from "urql";
import { Link } from "wouter";
import { said } from "../api/client";
import { SavedViewsDocument, SaveViewDocument } from "../api/gql";
import { searchOf, type Tab } from "../state/saved";
import { useView } from "../state/view";
import { ago } from "../table/format";
import { Middle } from "../ui/Middle";
import { Popover } from "../ui/Popover";
import styles from "./SavedViews.module.css";

interface Props {
  experiment: string;
  tab: Tab;
}

/** The views that were saved of an experiment, and a way to save this one. */
export function SavedViews({ experiment, tab }: Props) {
  return <Popover label="Views">{(close) => <Views experiment={experiment} tab={tab} onOpen={close} />}</Popover>;
}

function Views({ experiment, tab, onOpen }: Props & { onOpen: () => void }) {
  const [{ data }, again] = useQuery({ query: SavedViewsDocument, variables: { projectId: null, experimentId: experiment }, requestPolicy: "cache-and-network" });
  const [{ fetching }, save] = useMutation(SaveViewDocument);
  const [view] = useView();
  const [problem, setProblem] = useState<string | null>(null);

  async function submit(event: SubmitEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const name = String(new FormData(form).get("name")).trim();
    const result = await save({ input: { name, search: searchOf(view, tab), experimentId: experiment } });
    const answer = result.data?.saveView;
    if (answer?.__typename === "SaveViewPayload") {
      setProblem(null);
      form.reset();
      again({ requestPolicy: "network-only" });
    } else {
      setProblem(answer?.message ?? (result.error ? said(result.error) : "It was not saved."));
    }
  }

  return (
    <div className={styles.views}>
      <form onSubmit={(event) => void submit(event)}>
        <input type="text" name="name" aria-label="Name of the view" placeholder="Save this view as …" maxLength={250} autoComplete="off" required autoFocus />
        <button type="submit" className="primary" disabled={fetching}>
          Save
        </button>
      </form>
      {problem && (
        <p role="alert" className={styles.problem}>
          {problem}
        </p>
      )}
      <ul>
        {data?.savedViews.nodes.map(({ id, name, createdAt, createdBy }) => (
          <li key={id}>
            <Link href={`/v/${id}`} onClick={onOpen}>
              <Middle text={name} />
            </Link>
            <span className="muted">
              {createdBy.name}, {ago(createdAt, Date.now())}
            </span>
          </li>
        ))}
      </ul>
      {data?.savedViews.nodes.length === 0 && <p className="muted">No view of this experiment was saved yet.</p>}
    </div>
  );
}
