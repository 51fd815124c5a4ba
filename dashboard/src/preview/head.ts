/* The first bytes of an artifact, straight from the object store. */
export const HEAD_BYTES = 256 * 1024;

export interface Head {
  bytes: Uint8Array<ArrayBuffer>;
  /** Whether these are all bytes there are. */
  isWhole: boolean;
}

/** At most `most` bytes. Throws an `Error` with a sentence for a person when the store does not give them. */
export async function fetchHead(url: string, sizeBytes: number, most: number, signal: AbortSignal): Promise<Head> {
  if (sizeBytes === 0) {
    return { bytes: new Uint8Array(), isWhole: true };
  }
  const response = await answer(url, most, signal);
  return { bytes: await firstBytes(response, most), isWhole: sizeBytes <= most };
}

async function answer(url: string, most: number, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { headers: { range: `bytes=0-${most - 1}` }, signal, credentials: "omit", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (signal.aborted) {
      throw error;
    }
    throw new Error("The object store does not answer this page. Downloading may still work.");
  }
  if (!response.ok) {
    throw new Error(`The object store answered ${response.status} ${response.statusText}.`);
  }
  return response;
}

/** Stops reading where a store that ignores ranges would go on. */
async function firstBytes(response: Response, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = response.body!.getReader();
  const bytes = new Uint8Array(most);
  let length = 0;
  while (length < most) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    const part = value.subarray(0, most - length);
    bytes.set(part, length);
    length += part.length;
  }
  await reader.cancel();
  return bytes.slice(0, length);
}

/** The text of bytes in UTF-8; a character cut in half at the end is left out. */
export function textOf({ bytes, isWhole }: Head): string {
  return new TextDecoder().decode(bytes, { stream: !isWhole });
}
