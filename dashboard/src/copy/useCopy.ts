import { useState } from "react";

const SAID_MS = 2000;

/** Copies texts, and what to say of it for two seconds. */
export function useCopy(): { said: string; copy: (what: string, text: string) => Promise<void> } {
  const [said, setSaid] = useState("");

  async function copy(what: string, text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      setSaid(`${what} copied`);
    } catch {
      setSaid("The browser does not let this page copy");
    }
    setTimeout(() => setSaid(""), SAID_MS);
  }

  return { said, copy };
}
