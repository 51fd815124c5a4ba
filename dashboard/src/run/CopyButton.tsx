import { useState } from "react";

interface Props {
  text: string;
  /** What pressing it does, in words. */
  name: string;
  className?: string;
}

const SAID_MS = 2000;

/** Copies a text, and says whether it did. */
export function CopyButton({ text, name, className }: Props) {
  const [said, setSaid] = useState<string | null>(null);
  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("The browser does not let this page copy");
    }
    setTimeout(() => setSaid(null), SAID_MS);
  }
  return (
    <button type="button" className={className} title={name} onClick={() => void copy()}>
      <span aria-live="polite">{said ?? name}</span>
    </button>
  );
}
