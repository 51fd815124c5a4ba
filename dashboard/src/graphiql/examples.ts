/** A ready-made operation: a `.graphql` file whose first comment is its title and whose second is its sentence. */
export interface Example {
  title: string;
  about: string;
  query: string;
  variables: string;
}

const queries = import.meta.glob<string>("./examples/*.graphql", { query: "?raw", import: "default", eager: true });
const variables = import.meta.glob<string>("./examples/*.json", { query: "?raw", import: "default", eager: true });

function example(path: string): Example {
  const query = queries[path]!.trim();
  const [title = path, about = ""] = query.split("\n").map((line) => line.replace(/^#\s*/, ""));
  return { title, about, query: `${query}\n`, variables: (variables[path.replace(/graphql$/, "json")] ?? "").trim() };
}

/** In the order of the file names. */
export const EXAMPLES: readonly Example[] = Object.keys(queries).sort().map(example);
