/* The one way to the server: GraphQL over HTTP, and over a WebSocket for what goes on by itself. */
import { cacheExchange, Client, type CombinedError, type ExecutionResult, fetchExchange, mapExchange, subscriptionExchange } from "@urql/core";
import { createClient as createSocket } from "graphql-ws";

const RETRY_MS_MAX = 10_000;

/** A client that speaks with this token. `onRefused` is called when the server does not accept it. */
export function clientWith(token: string, onRefused: () => void): Client {
  const authorization = `Bearer ${token}`;
  const socket = createSocket({
    url: `${location.origin.replace(/^http/, "ws")}/graphql`,
    lazy: true,
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: (retries) => new Promise((resolve) => setTimeout(resolve, Math.min(RETRY_MS_MAX, 500 * 2 ** retries))),
    shouldRetry: () => true,
    connectionParams: { authorization },
  });
  return new Client({
    url: "/graphql",
    preferGetMethod: false,
    fetchOptions: { headers: { authorization } },
    exchanges: [
      mapExchange({ onError: (error) => void (isRefused(error) && onRefused()) }),
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => {
            const payload = { query: query ?? "", variables: { ...variables } as Record<string, unknown> };
            const unsubscribe = socket.subscribe<Record<string, unknown>>(payload, {
              next: (result) => {
                Object.assign(payload.variables, continuation(result.data));
                sink.next(result as ExecutionResult);
              },
              error: (error) => sink.error(error),
              complete: () => sink.complete(),
            });
            return { unsubscribe };
          },
        }),
      }),
    ],
  });
}

/** Variables that continue a subscription exactly behind a message: what is sent again when the socket comes back. */
function continuation(data: Record<string, unknown> | null | undefined): Record<string, unknown> {
  const { runEvents, points } = (data ?? {}) as Record<string, { after: string } | undefined>;
  if (points) {
    return { after: [points.after] };
  }
  return runEvents ? { after: runEvents.after } : {};
}

function isRefused({ response, graphQLErrors }: CombinedError): boolean {
  const { status } = (response ?? {}) as { status?: number };
  return status === 401 || graphQLErrors.some(({ extensions }) => extensions["code"] === "UNAUTHENTICATED");
}

/** Which part of what was asked the server would answer at once, when it cost too much; else null. */
export function affordable(error: CombinedError): number | null {
  const [first] = error.graphQLErrors;
  const { code, cost } = (first?.extensions ?? {}) as { code?: string; cost?: { requested: number; allowed: number } };
  return code === "QUERY_TOO_COMPLEX" && cost ? cost.allowed / cost.requested : null;
}

/** What went wrong and what to do about it, for a person. */
export function said(error: CombinedError): string {
  const [first] = error.graphQLErrors;
  if (first) {
    const { hint } = first.extensions as { hint?: string };
    return hint ? `${first.message}; ${hint}` : first.message;
  }
  return `Runstone does not answer at ${location.origin}. Is it running?`;
}
