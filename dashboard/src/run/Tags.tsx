import { type FormEvent, useState } from "react";
import { useMutation } from "urql";
import { said } from "../api/client";
import { type RunPageQuery, SetTagsDocument } from "../api/gql";
import { wholeNumber } from "../charts/numbers";
import styles from "./Tags.module.css";

type Run = NonNullable<RunPageQuery["run"]>;

interface Props {
  run: Run;
  mayEdit: boolean;
}

const FOLDED_MOST = 20;

/** The tags of a run, to be set and removed by who may. */
export function Tags({ run, mayEdit }: Props) {
  const [, setTags] = useMutation(SetTagsDocument);
  const [edited, setEdited] = useState<string | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [isOpen, setOpen] = useState(run.tags.length <= FOLDED_MOST);

  async function change(key: string, value: string | null): Promise<void> {
    const { data, error } = await setTags({ runId: run.id, tags: [{ key, value }] });
    const answer = data?.setTags;
    const refused = answer && answer.__typename !== "SetTagsPayload" ? [answer.message, answer.hint].filter(Boolean).join(". ") : null;
    setFailure(error ? said(error) : refused);
    if (!error && refused === null) {
      setEdited(null);
    }
  }

  return (
    <div className={styles.tags}>
      {(isOpen ? run.tags : run.tags.slice(0, FOLDED_MOST)).map(({ key, value }) =>
        edited === key ? (
          <TagForm key={key} tag={key} value={value} onSave={change} onCancel={() => setEdited(null)} />
        ) : (
          <span key={key} className={styles.tag}>
            <span className="muted">{key}</span>
            <span className={styles.value}>{value}</span>
            {mayEdit && (
              <>
                <button type="button" className="plain" aria-label={`Change the tag ${key}`} title="Change" onClick={() => setEdited(key)}>
                  ✎
                </button>
                <button type="button" className="plain" aria-label={`Remove the tag ${key}`} title="Remove" onClick={() => void change(key, null)}>
                  ✕
                </button>
              </>
            )}
          </span>
        ),
      )}
      {!isOpen && run.tags.length > FOLDED_MOST && (
        <button type="button" className="plain" onClick={() => setOpen(true)}>
          all {wholeNumber(run.tags.length)} tags
        </button>
      )}
      {mayEdit &&
        (edited === "" ? (
          <TagForm tag="" value="" onSave={change} onCancel={() => setEdited(null)} />
        ) : (
          <button type="button" className="plain" onClick={() => setEdited("")}>
            + tag
          </button>
        ))}
      {!mayEdit && run.tags.length === 0 && <span className="muted">no tags</span>}
      {failure !== null && (
        <span role="alert" className={styles.failure}>
          {failure}
        </span>
      )}
    </div>
  );
}

interface FormProps {
  /** Empty for a new tag. */
  tag: string;
  value: string;
  onSave: (key: string, value: string) => Promise<void>;
  onCancel: () => void;
}

function TagForm({ tag, value, onSave, onCancel }: FormProps) {
  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    void onSave(tag || String(given.get("key")), String(given.get("value")));
  }
  return (
    <form className={styles.form} onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && onCancel()}>
      {tag ? <span className="muted">{tag}</span> : <input type="text" name="key" aria-label="Name of the tag" placeholder="name" required autoFocus autoComplete="off" />}
      <input type="text" name="value" aria-label="Value of the tag" placeholder="value" defaultValue={value} autoFocus={tag !== ""} autoComplete="off" />
      <button type="submit">Save</button>
      <button type="button" className="plain" onClick={onCancel}>
        Cancel
      </button>
    </form>
  );
}
