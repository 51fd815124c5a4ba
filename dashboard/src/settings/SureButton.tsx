import { useState } from "react";

interface Props {
  /** What it does, as a verb. */
  does: string;
  /** What it is done to, to be read behind the verb. */
  to: string;
  onSure: () => void;
}

/** Does what cannot be taken back lightly: asks once more. */
export function SureButton({ does, to, onSure }: Props) {
  const [isAsking, setAsking] = useState(false);
  if (!isAsking) {
    return (
      <button type="button" className="plain" aria-label={`${does} ${to}`} onClick={() => setAsking(true)}>
        {does}
      </button>
    );
  }
  function answer(isSure: boolean): void {
    setAsking(false);
    if (isSure) {
      onSure();
    }
  }
  return (
    <>
      <button type="button" aria-label={`${does} it: ${to}`} onClick={() => answer(true)}>
        {does} it
      </button>
      <button type="button" className="plain" onClick={() => answer(false)}>
        Cancel
      </button>
    </>
  );
}
