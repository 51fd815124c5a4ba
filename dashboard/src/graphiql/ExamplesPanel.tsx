import { type GraphiQLPlugin, useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { Kind, parse } from "graphql";
import { EXAMPLES, type Example } from "./examples";
import { newest } from "./fetcher";
import { filled } from "./variables";

function ExamplesIcon() {
  return (
    <svg viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" aria-hidden="true">
      <rect x="2.5" y="2.5" width="15" height="15" rx="2.5" />
      <path d="m6 7 2 2-2 2M10.5 12h4" />
    </svg>
  );
}

function factsOf({ query }: Example) {
  const documentAST = parse(query);
  const operations = documentAST.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
  return { documentAST, operations, operationName: operations[0]?.name?.value ?? "" };
}

/** Fills the current tab if it is empty, else a new one. */
function useOpen(): (example: Example) => Promise<void> {
  const { addTab, setOperationFacts } = useGraphiQLActions();
  const fetcher = useGraphiQL((state) => state.fetcher);
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);

  return async (example) => {
    const variables = await filled(example.variables, () => newest(fetcher));
    if (queryEditor?.getValue().trim()) {
      addTab();
    }
    queryEditor?.setValue(example.query);
    variableEditor?.setValue(variables);
    setOperationFacts(factsOf(example)); // which GraphiQL finds out later: press play at once and it names the old operation
    queryEditor?.focus();
  };
}

function ExamplesPanel() {
  const open = useOpen();
  return (
    <section className="examples" aria-label="Examples">
      <h2>Examples</h2>
      <p>Each opens in its own tab with its variables. Run it with Ctrl-Enter.</p>
      <ul>
        {EXAMPLES.map((example) => (
          <li key={example.title}>
            <button type="button" onClick={() => void open(example)}>
              <strong>{example.title}</strong>
              <span>{example.about}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

export const EXAMPLES_PLUGIN: GraphiQLPlugin = { title: "Examples", icon: ExamplesIcon, content: ExamplesPanel };
