import { type KeyboardEvent, useId, useState } from "react";
import styles from "./chips.module.css";

interface Props {
  label: string;
  /** Shown while nothing is chosen. */
  placeholder: string;
  chosen: readonly string[];
  suggestions: readonly string[];
  onChange: (chosen: string[]) => void;
}

/** A few choices in a row, and a field for another, which offers suggestions. */
export function Chips({ label, placeholder, chosen, suggestions, onChange }: Props) {
  const [text, setText] = useState("");
  const id = useId();

  function add(given: string): void {
    const choice = given.trim();
    if (choice !== "" && !chosen.includes(choice)) {
      onChange([...chosen, choice]);
      setText("");
    }
  }

  function pressed(event: KeyboardEvent): void {
    if (event.key === "Enter") {
      event.preventDefault();
      add(text);
    } else if (event.key === "Backspace" && text === "") {
      onChange(chosen.slice(0, -1));
    }
  }

  return (
    <div className={styles["chips"]}>
      <span>{label}</span>
      {chosen.map((choice) => (
        <button key={choice} type="button" aria-label={`Remove ${choice}`} onClick={() => onChange(chosen.filter((one) => one !== choice))}>
          <span>{choice}</span> ×
        </button>
      ))}
      <input
        type="text"
        list={id}
        value={text}
        aria-label={label}
        placeholder={chosen.length === 0 ? placeholder : "+"}
        onChange={({ target, nativeEvent }) => {
          setText(target.value);
          // Browsers tell a choice from the list by the type of the event.
          if ((nativeEvent as InputEvent).inputType === "insertReplacementText" || !("inputType" in nativeEvent)) {
            add(target.value);
          }
        }}
        onKeyDown={pressed}
      />
      <datalist id={id}>
        {suggestions
          .filter((each) => !chosen.includes(each))
          .map((each) => (
            <option key={each} value={each} />
          ))}
      </datalist>
    </div>
  );
}
