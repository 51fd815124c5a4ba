import { asGraphQL, asPython, inGraphiQL, type Operation } from "./texts";

interface Props {
  operation: Operation;
  copy: (what: string, text: string) => Promise<void>;
  /** Called when a choice was made. */
  onDone: () => void;
}

/** Ways to take a query along, as entries of a menu. */
export function QueryItems({ operation, copy, onDone }: Props) {
  return (
    <>
      <button type="button" className="plain" onClick={() => void copy("GraphQL", asGraphQL(operation)).then(onDone)}>
        Copy as GraphQL
      </button>
      <button type="button" className="plain" onClick={() => void copy("Python", asPython(operation)).then(onDone)}>
        Copy as Python
      </button>
      <a className="button plain" href={inGraphiQL(operation)} target="_blank" rel="noreferrer">
        Open in GraphiQL
      </a>
    </>
  );
}
