/* What a page asks first, asked while the code that shows the answer is still on its way. */
import type { AnyVariables, Client, TypedDocumentNode } from "@urql/core";

interface Ahead {
  /** null where there is none. */
  answer: Promise<unknown>;
  /** The answer once it is there. */
  data: unknown;
}

const asked = new Map<string, Ahead>();

const nameOf = (document: unknown, variables: unknown) => JSON.stringify([document, variables]);

/**
 * Ask now, with no more code than it takes, and keep the answer for whoever asks the same.
 * null where there is none: whoever asks the same then asks again, and is told why.
 */
export async function askAhead<Data, Variables extends AnyVariables>(token: string, document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data | null> {
  const answer = answerOf<Data>(token, JSON.stringify({ query: document, variables })).catch(() => null);
  const ahead: Ahead = { answer, data: null };
  asked.set(nameOf(document, variables), ahead);
  ahead.data = await answer;
  return answer;
}

async function answerOf<Data>(token: string, body: string): Promise<Data | null> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/graphql-response+json, application/json" };
  const answer = (await (await fetch("/graphql", { method: "POST", headers, body })).json()) as { data?: Data; errors?: unknown };
  return answer.errors ? null : (answer.data ?? null);
}

/** The answer that was asked for ahead, if it is there and nobody took it; null otherwise. */
export const known = <Data, Variables extends AnyVariables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Data | null =>
  (asked.get(nameOf(document, variables))?.data as Data | undefined) ?? null;

/** The answer that was asked for ahead, given once, else that of the client. Throws a `CombinedError`. */
export async function ask<Data, Variables extends AnyVariables>(
  client: Client,
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  requestPolicy: "cache-first" | "network-only",
): Promise<Data> {
  const name = nameOf(document, variables);
  const ahead = asked.get(name);
  asked.delete(name);
  if (ahead) {
    const data = (ahead.data ?? (await ahead.answer)) as Data | null;
    if (data !== null) {
      return data;
    }
  }
  const { data, error } = await client.query(document, variables, { requestPolicy });
  if (error) {
    throw error;
  }
  return data!;
}
