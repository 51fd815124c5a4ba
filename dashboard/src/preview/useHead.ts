import { useEffect, useState } from "react";
import { useClient } from "urql";
import { addressOfArtifact } from "./download";
import { fetchHead, type Head } from "./head";

export interface Loaded {
  head: Head | null;
  /** A sentence for a person; null while all is well. */
  failure: string | null;
}

const WAITING: Loaded = { head: null, failure: null };

/** The first bytes of an artifact, at most `most`, read once the component is there; nothing for null. */
export function useHead(artifact: { id: string; sizeBytes: number } | null, most: number): Loaded {
  const client = useClient();
  const [loaded, setLoaded] = useState(WAITING);
  const id = artifact?.id ?? null;
  const sizeBytes = artifact?.sizeBytes ?? 0;

  useEffect(() => {
    const stopping = new AbortController();
    async function load(wanted: string): Promise<void> {
      try {
        const url = await addressOfArtifact(client, wanted);
        setIfWanted({ head: await fetchHead(url, sizeBytes, most, stopping.signal), failure: null });
      } catch (error) {
        setIfWanted({ head: null, failure: (error as Error).message });
      }
    }
    const setIfWanted = (now: Loaded) => !stopping.signal.aborted && setLoaded(now);
    setLoaded(WAITING);
    if (id !== null) {
      void load(id);
    }
    return () => stopping.abort();
  }, [client, id, sizeBytes, most]);

  return loaded;
}
