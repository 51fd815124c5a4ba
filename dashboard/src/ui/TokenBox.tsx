import "./token-box.css";
import { type SubmitEvent, useEffect, useId, useRef } from "react";

export type TokenNeed = "missing" | "refused" | "change";

const REASON: Record<TokenNeed, string> = {
  missing: "This page talks to the API with your access token.",
  refused: "The server does not accept this token. It may be mistyped, expired or revoked.",
  change: "Use another token in this tab.",
};

interface Props {
  need: TokenNeed;
  onToken: (token: string) => void;
  onClose: () => void;
}

/** Asks for the access token. */
export function TokenBox({ need, onToken, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const input = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  function submit(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get("token")).trim();
    if (token) {
      onToken(token);
    }
  }

  return (
    <dialog ref={dialog} className="token-box" aria-label="Access token" onClose={onClose}>
      <form onSubmit={submit}>
        <label htmlFor={input}>Access token</label>
        <p className={need} role={need === "refused" ? "alert" : undefined}>
          {REASON[need]}
        </p>
        <div>
          <input id={input} name="token" type="password" placeholder="rs_…" autoComplete="off" spellCheck={false} autoFocus required />
          <button type="submit">Connect</button>
        </div>
        <small>
          The link that <code>runstone up</code> prints carries it. It is kept in this tab only, until you close it.
        </small>
      </form>
    </dialog>
  );
}
