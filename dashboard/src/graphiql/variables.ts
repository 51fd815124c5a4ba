/*
 * The variables of an example name what they need in words, `<new id>` or `<newest run id>`, so that they read well
 * even where there is nothing to put in. Opening the example puts in real ones.
 */

/** What the words stand for; null where there is no such thing. */
export interface Newest {
  run: string | null;
  secondRun: string | null;
  commit: string | null;
  dataset: string | null;
}

const WORDS = /<(new id|newest run id|second newest run id|newest commit|newest dataset digest)>/g;

/** An id as the SDK makes them: a UUIDv7, which begins with the time in milliseconds. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  new DataView(bytes.buffer).setBigUint64(0, (BigInt(Date.now()) << 16n) | BigInt(((bytes[6]! << 8) | bytes[7]!) & 0x0fff) | 0x7000n);
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** The variables with what there is in place of words; words stay where there is no such thing. */
export async function filled(variables: string, findNewest: () => Promise<Newest>): Promise<string> {
  const newest = variables.includes("newest ") ? await findNewest() : null;
  const meant = (what: string): string | null | undefined => {
    switch (what) {
      case "new id":
        return newId();
      case "newest run id":
        return newest?.run;
      case "second newest run id":
        return newest?.secondRun;
      case "newest commit":
        return newest?.commit;
      default:
        return newest?.dataset;
    }
  };
  return variables.replace(WORDS, (words, what: string) => meant(what) ?? words);
}
