/* What happened to a run, as far as the server tells: its attempts, its tags, its files. */
import type { RunHistoryQuery, RunStatus } from "../api/gql";

type History = NonNullable<RunHistoryQuery["run"]>;

export interface Happening {
  at: string;
  what: string;
  /** Details, shown as they were written. */
  detail: string;
  who: string | null;
}

const ENDS: Record<RunStatus, string> = {
  RUNNING: "is running",
  FINISHED: "finished",
  FAILED: "failed",
  KILLED: "was killed",
  LOST: "was lost",
};

const attemptsOf = ({ attempts }: History): Happening[] =>
  attempts.flatMap(({ number, status, startedAt, heartbeatAt, finishedAt, stopRequest, startedBy }) => {
    const begin = { at: startedAt, what: number === 1 ? "run started" : `resumed, attempt ${number}`, detail: "", who: startedBy.name };
    const asked = stopRequest ? [{ at: stopRequest.requestedAt, what: "asked to stop", detail: stopRequest.reason ?? "", who: stopRequest.requestedBy.name }] : [];
    const end = finishedAt ?? (status === "LOST" ? heartbeatAt : null);
    return end === null ? [begin, ...asked] : [begin, ...asked, { at: end, what: `attempt ${number} ${ENDS[status]}`, detail: status === "LOST" ? "last heard of then" : "", who: null }];
  });

const tagsOf = ({ tagHistory }: History): Happening[] =>
  tagHistory.map(({ key, before, after, changedAt, changedBy }) => ({
    at: changedAt,
    what: after === null ? `tag ${key} removed` : before === null ? `tag ${key} set` : `tag ${key} changed`,
    detail: [before, after].filter((text) => text !== null).join(" → "),
    who: changedBy.name,
  }));

const filesOf = ({ artifacts }: History): Happening[] =>
  artifacts.nodes.flatMap(({ path, state, finalizedAt, failure, createdBy }) =>
    finalizedAt === null ? [] : [{ at: finalizedAt, what: state === "FAILED" ? "file failed" : "file ready", detail: failure ? `${path}: ${failure.message}` : path, who: createdBy.name }],
  );

/** The newest first; of those at the same moment in the order: attempts, tags, files. */
export function happenings(history: History): Happening[] {
  return [...attemptsOf(history), ...tagsOf(history), ...filesOf(history)].sort((one, other) => other.at.localeCompare(one.at));
}
