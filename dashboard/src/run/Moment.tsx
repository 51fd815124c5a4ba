import { momentText } from "./times";

/** A moment; pointed at, it says the exact one in UTC. */
export function Moment({ at }: { at: string | null }) {
  return at === null ? <span className="muted">—</span> : (
    <time dateTime={at} title={at}>
      {momentText(at)}
    </time>
  );
}
