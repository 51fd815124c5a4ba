/* Types and documents of src/api/operations/*.graphql, checked against the schema: src/api/gql.ts. */
import { codegen } from "@graphql-codegen/core";
import * as typescriptOperations from "@graphql-codegen/typescript-operations";
import { getOperationAST, parse, print, separateOperations } from "graphql";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const OPERATIONS = join(HERE, "..", "src", "api", "operations");
const TARGET = join(HERE, "..", "src", "api", "gql.ts");

const number = 'number | "NaN" | "Infinity" | "-Infinity"';
const SCALARS = {
  Cells: "unknown[]",
  Cursor: "string",
  DateTime: "string",
  Float32Column: "string",
  Float64Column: "unknown",
  ID: "string",
  Int64: "number",
  Int64Column: "unknown",
  MetricValue: number,
  ParamValue: "unknown",
};

const parsed = (path) => parse(readFileSync(path, "utf8"));

/** Each operation as its text with the fragments it needs, which a page loads and reads sooner than a tree. */
const texts = {
  plugin: (_schema, documents) => ({
    prepend: ['import type { TypedDocumentNode } from "@urql/core";'],
    content: documents.flatMap(({ document }) => Object.entries(separateOperations(document)).map(([name, alone]) => textOf(name, alone))).join("\n"),
  }),
};

function textOf(name, document) {
  const { operation } = getOperationAST(document, name);
  const type = name + operation[0].toUpperCase() + operation.slice(1);
  return `export const ${name}Document = ${JSON.stringify(print(document))} as unknown as TypedDocumentNode<${type}, ${type}Variables>;`;
}

const generated = await codegen({
  filename: TARGET,
  schema: parsed(join(HERE, "..", "..", "schema.graphql")),
  documents: readdirSync(OPERATIONS)
    .filter((name) => name.endsWith(".graphql"))
    .sort()
    .map((name) => ({ location: name, document: parsed(join(OPERATIONS, name)) })),
  plugins: [{ operations: {} }, { texts: {} }],
  pluginMap: { operations: typescriptOperations, texts },
  config: { scalars: SCALARS, strictScalars: true, useTypeImports: true, enumsAsTypes: true, skipTypename: true },
});
writeFileSync(TARGET, generated);
