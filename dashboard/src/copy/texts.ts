/* A view is one document and its variables; these are the ways to take it along. */
import { stringifyDocument, type TypedDocumentNode } from "@urql/core";
import { linkTo } from "../api/fragment";

export interface Operation {
  // The document of any operation; what it answers does not matter here.
  document: TypedDocumentNode<never, never> | TypedDocumentNode<unknown, never>;
  variables: Record<string, unknown>;
}

const given = ({ variables }: Operation): Record<string, unknown> =>
  Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== null && value !== undefined));

export const documentOf = ({ document }: Operation): string => stringifyDocument(document);

/** The document, with its variables as a comment that can be pasted where variables go. */
export function asGraphQL(operation: Operation): string {
  const variables = JSON.stringify(given(operation), null, 2).replaceAll(/^/gm, "# ");
  return `${documentOf(operation)}\n\n# Variables:\n${variables}\n`;
}

/** A script that asks the same with the SDK. */
export function asPython(operation: Operation): string {
  return `import runstone

answer = runstone.execute(
    """
${documentOf(operation).replaceAll("\\", "\\\\").replaceAll('"""', '\\"\\"\\"').replaceAll(/^(?=.)/gm, "    ")}
    """,
    ${literal(given(operation), 1)},
)
print(answer)
`;
}

/** A value as Python writes it; a text as JSON writes it, which is also a Python literal. */
function literal(value: unknown, depth: number): string {
  const [inner, outer] = ["    ".repeat(depth + 1), "    ".repeat(depth)];
  const block = (open: string, items: string[], close: string) =>
    items.length === 0 ? open + close : `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${outer}${close}`;
  if (Array.isArray(value)) {
    return block("[", value.map((item) => literal(item, depth + 1)), "]");
  }
  if (typeof value === "object" && value !== null) {
    const items = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${literal(item, depth + 1)}`);
    return block("{", items, "}");
  }
  if (typeof value === "boolean") {
    return value ? "True" : "False";
  }
  return value === null || value === undefined ? "None" : JSON.stringify(value);
}

export const inGraphiQL = (operation: Operation): string =>
  linkTo(documentOf(operation), JSON.stringify(given(operation), null, 2));
