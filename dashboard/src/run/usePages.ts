import type { Client, CombinedError } from "@urql/core";
import { useEffect, useState } from "react";
import { useClient } from "urql";

export interface Page<T> {
  nodes: readonly T[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

export interface Pages<T> {
  nodes: readonly T[];
  /** Gets the next page; null when all are here. */
  more: (() => void) | null;
  error: CombinedError | undefined;
}

type Load<T> = (client: Client, after: string) => Promise<{ page: Page<T> | undefined; error: CombinedError | undefined }>;

/**
 * The nodes of a first page and of those that were asked for behind it; begins anew with another first page. With
 * `wantsAll`, as for a search, all pages are asked for, one after the other.
 */
export function usePages<T>(first: Page<T>, load: Load<T>, wantsAll = false): Pages<T> {
  const client = useClient();
  const [later, setLater] = useState<readonly Page<T>[]>([]);
  const [error, setError] = useState<CombinedError>();
  useEffect(() => setLater([]), [first]);

  const { pageInfo } = later.at(-1) ?? first;
  async function getMore(after: string): Promise<void> {
    const { page, error: failure } = await load(client, after);
    setError(failure);
    if (page) {
      setLater((pages) => ((pages.at(-1) ?? first).pageInfo.endCursor === after ? [...pages, page] : pages)); // once, also when asked twice
    }
  }
  const { hasNextPage, endCursor } = pageInfo;
  useEffect(() => {
    if (wantsAll && hasNextPage && endCursor !== null) {
      void getMore(endCursor);
    }
  }, [wantsAll, hasNextPage, endCursor]);
  return {
    nodes: [first, ...later].flatMap(({ nodes }) => nodes),
    more: hasNextPage && endCursor !== null ? () => void getMore(endCursor) : null,
    error,
  };
}
