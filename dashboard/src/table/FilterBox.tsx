import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { useClient } from "urql";
import { CheckFilterDocument, type CheckFilterQuery } from "../api/gql";
import { useShortcuts } from "../ui/Keys";
import styles from "./FilterBox.module.css";

type Check = CheckFilterQuery["checkFilter"];
const PAUSE_MS = 200;

interface Props {
  value: string;
  /** The text became another one that is a filter. */
  onChange: (where: string) => void;
  /** What stands at its end while there is nothing wrong. */
  status: string;
}

/** The text of a filter. It applies when typing pauses, and what is wrong with it is said where it is wrong. */
export function FilterBox({ value, onChange, status }: Props) {
  const client = useClient();
  const [text, setText] = useState(value);
  const [check, setCheck] = useState<Check | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const told = useId();
  const latest = useRef(onChange);
  latest.current = onChange;

  useEffect(() => setText(value), [value]);
  useEffect(() => {
    setCheck(null);
    if (text.trim() === value.trim()) {
      return;
    }
    let isStale = false;
    async function apply(): Promise<void> {
      const { data } = await client.query(CheckFilterDocument, { where: text });
      if (isStale || !data) {
        return;
      }
      setCheck(data.checkFilter);
      if (data.checkFilter.ok) {
        latest.current(text.trim());
      }
    }
    const timer = setTimeout(() => void apply(), PAUSE_MS);
    return () => {
      isStale = true;
      clearTimeout(timer);
    };
  }, [client, text, value]);

  useShortcuts([{ keys: "/", does: "filter", run: () => input.current?.focus() }]);

  function pressed(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      input.current?.blur();
    }
  }

  function take(suggestion: string): void {
    const { before, after } = around(text, check?.position ?? [...text].length);
    setText(before + suggestion + after);
    input.current?.focus();
    const end = before.length + suggestion.length;
    requestAnimationFrame(() => input.current?.setSelectionRange(end, end));
  }

  const failure = check && !check.ok ? check : null;
  return (
    <div className={styles.filter} role="search">
      <div className={failure ? styles.wrong : styles.box}>
        <input
          ref={input}
          type="text"
          aria-label="Filter"
          aria-invalid={failure !== null}
          aria-describedby={told}
          placeholder="Filter, such as  metrics.loss < 0.3 AND params.optimizer = 'adam'"
          spellCheck={false}
          autoCapitalize="off"
          autoComplete="off"
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={pressed}
        />
        {!failure && <span className={styles.status}>{status}</span>}
        {text !== "" && (
          <button type="button" className="plain" aria-label="Clear the filter" onClick={() => (setText(""), onChange(""))}>
            ✕
          </button>
        )}
      </div>
      <div id={told} role="status">
        {failure && <Explained text={text} check={failure} onTake={take} />}
      </div>
    </div>
  );
}

/** The word at the position, and what is around it; positions count characters, not UTF-16 units. */
function around(text: string, position: number): { before: string; wrong: string; after: string } {
  const letters = [...text];
  const before = letters.slice(0, position).join("");
  const wrong = /^("[^"]*"|[\w.$:@/-]+|\S)?/.exec(letters.slice(position).join(""))![0];
  return { before, wrong, after: letters.slice(position).join("").slice(wrong.length) };
}

function Explained({ text, check, onTake }: { text: string; check: Check; onTake: (suggestion: string) => void }) {
  const { before, wrong } = around(text, check.position ?? [...text].length);
  return (
    <p className={styles.explained}>
      <code>
        {before}
        <mark>{wrong || "␣"}</mark>
      </code>{" "}
      {check.message}
      {check.suggestions.length > 0 && (
        <>
          {"; did you mean "}
          {check.suggestions.map((suggestion) => (
            <button key={suggestion} type="button" onClick={() => onTake(suggestion)}>
              <code>{suggestion}</code>
            </button>
          ))}
        </>
      )}
    </p>
  );
}
