/*
 * The editor's background workers, as files of our own origin. GraphiQL's ready-made `setup-workers/vite` is not meant
 * for Vite applications and logs to the console.
 */
import type {} from "monaco-editor"; // declares MonacoEnvironment
import EditorWorker from "monaco-editor/esm/vs/editor/editor.worker.js?worker";
import JsonWorker from "monaco-editor/esm/vs/language/json/json.worker.js?worker";
import GraphQLWorker from "monaco-graphql/esm/graphql.worker.js?worker";

function workerFor(label: string): Worker {
  switch (label) {
    case "graphql":
      return new GraphQLWorker();
    case "json":
      return new JsonWorker();
    default:
      return new EditorWorker();
  }
}

self.MonacoEnvironment = { getWorker: (_id, label) => workerFor(label) };
