import { useState } from "react";
import { useClient } from "urql";
import { addressAt, addressOfArtifact, save } from "./download";

interface Props {
  /** What is downloaded, for those who cannot see where the button stands. */
  name: string;
  of: { artifact: string } | { run: string; path: string };
  /** A small mark instead of the word. */
  small?: boolean;
}

/** Asks for an address and has the browser save the file. */
export function DownloadButton({ name, of, small = false }: Props) {
  const client = useClient();
  const [failure, setFailure] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  async function download(): Promise<void> {
    setBusy(true);
    setFailure(null);
    try {
      save(await ("artifact" in of ? addressOfArtifact(client, of.artifact) : addressAt(client, of.run, of.path)));
    } catch (error) {
      setFailure((error as Error).message);
    } finally {
      setBusy(false);
    }
  }

  return (
    <>
      <button type="button" className={small ? "plain" : undefined} aria-label={`Download ${name}`} title={failure ?? `Download ${name}`} disabled={busy} onClick={() => void download()}>
        <svg viewBox="0 0 16 16" width="14" height="14" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
          <path d="M8 2.5v7.5m-3-3 3 3 3-3M3 13.5h10" />
        </svg>
        {!small && "Download"}
      </button>
      {failure !== null && (
        <span role="alert" className={small ? "out-of-sight" : "muted"}>
          {failure}
        </span>
      )}
    </>
  );
}
