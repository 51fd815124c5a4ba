import { type Fetcher, type FetcherParams, fetcherReturnToPromise } from "@graphiql/toolkit";
import { type ExecutionResult, getOperationAST, GraphQLError, OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";
import type { Newest } from "./variables";

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

/** Answers one by one, for as long as GraphiQL listens. */
function subscribe(token: string, { query, variables, operationName }: FetcherParams): AsyncIterableIterator<ExecutionResult> {
  const socket = createClient({ url: `${location.origin.replace(/^http/, "ws")}/graphql`, connectionParams: { authorization: `Bearer ${token}` } });
  return socket.iterate({ query, variables: variables as Record<string, unknown>, ...(operationName && { operationName }) }) as AsyncIterableIterator<ExecutionResult>;
}

/** GraphiQL's way to the server. `onRefused` is called when the server does not accept the token. */
export function fetcherWith(token: string | null, onRefused: () => void): Fetcher {
  return async (operation, options) => {
    if (token === null) {
      return failure("No token yet: press “No token” above to paste one, or open the link that `runstone up` prints.");
    }
    if (options?.documentAST && getOperationAST(options.documentAST, operation.operationName)?.operation === OperationTypeNode.SUBSCRIPTION) {
      return subscribe(token, operation);
    }
    const { answer, refused } = await ask(token, operation);
    if (refused) {
      onRefused();
    }
    return answer;
  };
}

const NEWEST = `query Newest {
  runs(first: 20) { nodes { id source { commit } inputs { digest } } }
}`;

type NewestRuns = { nodes: { id: string; source: { commit: string | null } | null; inputs: { digest: string }[] }[] };

/** What is newest among the last runs that the server tells of. */
export async function newest(fetcher: Fetcher): Promise<Newest> {
  const answer = (await fetcherReturnToPromise(fetcher({ query: NEWEST, operationName: "Newest" }))) as Answer;
  const runs = (answer.data?.["runs"] as NewestRuns | undefined)?.nodes ?? [];
  return {
    run: runs[0]?.id ?? null,
    secondRun: runs[1]?.id ?? null,
    commit: runs.find(({ source }) => source?.commit)?.source?.commit ?? null,
    dataset: runs.find(({ inputs }) => inputs.length > 0)?.inputs[0]?.digest ?? null,
  };
}
