import { type Fetcher, type FetcherParams, fetcherReturnToPromise } from "@graphiql/toolkit";
import { type ExecutionResult, GraphQLError } from "graphql";

type Answer = ExecutionResult<Record<string, unknown>, Record<string, unknown>>;

const failure = (message: string): Answer => ({ errors: [new GraphQLError(message)] });

function isRefused(response: Response, answer: Answer): boolean {
  return response.status === 401 || (answer.errors?.some((error) => error.extensions?.["code"] === "UNAUTHENTICATED") ?? false);
}

/* Numbers as the server wrote them, where the browser can: JavaScript rounds 64-bit integers and drops the .0 of 1.0. */
const { rawJSON } = JSON as { rawJSON?: (source: string) => unknown };

function parsed(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    const isRounded = typeof value === "number" && source !== undefined && source !== String(value);
    return isRounded && rawJSON ? rawJSON(source) : value;
  });
}

/** Post one operation with the token. Every failure is an answer with a sentence, never an exception. */
export async function ask(token: string, operation: FetcherParams): Promise<{ answer: Answer; refused: boolean }> {
  let response: Response;
  try {
    response = await fetch("/graphql", {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json, application/json;q=0.9",
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(operation),
    });
  } catch {
    return { answer: failure(`Runstone does not answer at ${location.origin}. Is it running?`), refused: false };
  }
  let answer: Answer;
  try {
    answer = parsed(await response.text()) as Answer;
  } catch {
    answer = failure(`The server answered ${response.status} ${response.statusText} without a GraphQL body.`);
  }
  return { answer, refused: isRefused(response, answer) };
}

/** GraphiQL's way to the server. `onRefused` is called when the server does not accept the token. */
export function fetcherWith(token: string | null, onRefused: () => void): Fetcher {
  return async (operation) => {
    if (token === null) {
      return failure("No token yet: press “No token” above to paste one, or open the link that `runstone up` prints.");
    }
    const { answer, refused } = await ask(token, operation);
    if (refused) {
      onRefused();
    }
    return answer;
  };
}

const NEWEST = "query NewestRuns { runs(first: 2) { nodes { id } } }";

/** The ids of the two newest runs; fewer, or none, where the server tells no more. */
export async function newestRuns(fetcher: Fetcher): Promise<string[]> {
  const answer = (await fetcherReturnToPromise(fetcher({ query: NEWEST, operationName: "NewestRuns" }))) as Answer;
  const runs = answer.data?.["runs"] as { nodes: { id: string }[] } | undefined;
  return runs?.nodes.map((run) => run.id) ?? [];
}
