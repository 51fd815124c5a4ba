/* What a page asks first, asked while the code that shows the answer is still on its way. */
import { type AnyVariables, Client, createRequest, fetchExchange, type OperationResult, type TypedDocumentNode } from "@urql/core";

const asked = new Map<number, Promise<OperationResult>>();

/** A client for what is asked before the page has its own. */
export const clientAhead = (token: string): Client =>
  new Client({ url: "/graphql", preferGetMethod: false, fetchOptions: { headers: { authorization: `Bearer ${token}` } }, exchanges: [fetchExchange] });

/** Ask now, and keep the answer for whoever asks the same. Throws a `CombinedError`. */
export async function askAhead<Data, Variables extends AnyVariables>(client: Client, document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data> {
  const answer = client.query(document, variables).toPromise();
  asked.set(createRequest(document, variables).key, answer);
  return dataOf(await answer);
}

/** The answer that was asked for ahead, given once, else that of the client. Throws a `CombinedError`. */
export async function ask<Data, Variables extends AnyVariables>(
  client: Client,
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  requestPolicy: "cache-first" | "network-only",
): Promise<Data> {
  const { key } = createRequest(document, variables);
  const ahead = asked.get(key) as Promise<OperationResult<Data>> | undefined;
  asked.delete(key);
  return dataOf(await (ahead ?? client.query(document, variables, { requestPolicy })));
}

function dataOf<Data>({ data, error }: OperationResult<Data>): Data {
  if (error) {
    throw error;
  }
  return data!;
}
