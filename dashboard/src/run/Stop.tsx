import { type FormEvent, useState } from "react";
import { useMutation } from "urql";
import { RequestStopDocument, type RunPageQuery } from "../api/gql";
import { failureOf } from "../settings/failure";
import { Popover } from "../ui/Popover";
import { Moment } from "./Moment";
import styles from "./Stop.module.css";

type Run = NonNullable<RunPageQuery["run"]>;

/** A way to ask whoever trains the run to stop; who asked, once somebody has. */
export function Stop({ run, mayEdit }: { run: Run; mayEdit: boolean }) {
  if (run.stopRequest) {
    const { requestedBy, requestedAt, reason } = run.stopRequest;
    return (
      <span className="muted">
        asked to stop by {requestedBy.name}, <Moment at={requestedAt} />
        {reason !== null && `: ${reason}`}
      </span>
    );
  }
  const isOpen = run.status === "RUNNING" || run.status === "LOST";
  return mayEdit && isOpen ? <Popover label="Stop…">{(close) => <Question run={run} onDone={close} />}</Popover> : null;
}

function Question({ run, onDone }: { run: Run; onDone: () => void }) {
  const [, requestStop] = useMutation(RequestStopDocument);
  const [failure, setFailure] = useState<string | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const reason = String(new FormData(event.currentTarget).get("reason")).trim();
    const { data, error } = await requestStop({ runId: run.id, reason: reason || null });
    const refused = failureOf(error, data?.requestStop);
    setFailure(refused);
    if (refused === null) {
      onDone();
    }
  }

  return (
    <form className={styles.question} onSubmit={(event) => void submit(event)}>
      <p>The training hears of it within half a minute, and decides what to do. This cannot be taken back.</p>
      <label>
        Why <input name="reason" maxLength={1000} autoFocus autoComplete="off" />
      </label>
      <button type="submit">Ask it to stop</button>
      {failure !== null && <p role="alert">{failure}</p>}
    </form>
  );
}
