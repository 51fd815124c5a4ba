import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { GraphiQL } from "graphiql";
import { useCallback, useMemo, useState } from "react";
import { Brand } from "./Brand";
import { CopyLink, EditorType, FoldColumns, FollowSystemTheme } from "./editors";
import { EXAMPLES } from "./examples";
import { EXAMPLES_PLUGIN } from "./ExamplesPanel";
import { fetcherWith } from "./fetcher";
import type { Fragment } from "../api/fragment";
import { EDITOR_THEME } from "./theme";
import { forgetToken, keepToken, keptToken } from "../api/token";
import { TokenBox, type TokenNeed } from "../ui/TokenBox";

const PLUGINS = [EXAMPLES_PLUGIN, HISTORY_PLUGIN];

/** What the editors hold at first: what the link carried, else what was there last time, else the first example. */
function firstOperation({ query, variables }: Fragment): { initialQuery?: string; initialVariables?: string } {
  if (query !== null) {
    return { initialQuery: query, initialVariables: variables ?? "" };
  }
  const [first] = EXAMPLES;
  const isFirstVisit = localStorage.getItem("graphiql:tabState") === null;
  return isFirstVisit && first ? { initialQuery: first.query, initialVariables: first.variables } : {};
}

export function Page({ fragment }: { fragment: Fragment }) {
  const [token, setToken] = useState(() => fragment.token ?? keptToken());
  const [need, setNeed] = useState<TokenNeed | null>(token === null ? "missing" : null);
  const [first] = useState(() => firstOperation(fragment));

  const refused = useCallback(() => {
    forgetToken();
    setToken(null);
    setNeed("refused");
  }, []);
  const fetcher = useMemo(() => fetcherWith(token, refused), [token, refused]);

  function connect(given: string): void {
    keepToken(given);
    setToken(given);
    setNeed(null);
  }

  return (
    <>
      <GraphiQL
        {...first}
        fetcher={fetcher}
        {...(token === null && { schema: null })} // ask for no schema before there is a token
        plugins={PLUGINS}
        visiblePlugin={EXAMPLES_PLUGIN}
        editorTheme={EDITOR_THEME}
        forcedTheme="system"
        defaultEditorToolsVisibility="variables"
        isHeadersEditorEnabled={false}
        showPersistHeadersSettings={false}
        schemaDescription
        inputValueDeprecation
      >
        <GraphiQL.Logo>
          <Brand connected={token !== null} onChangeToken={() => setNeed("change")} />
        </GraphiQL.Logo>
        <GraphiQL.Toolbar>
          {({ prettify, copy, merge }) => (
            <>
              {prettify}
              {merge}
              {copy}
              <CopyLink />
            </>
          )}
        </GraphiQL.Toolbar>
        <EditorType />
        <FollowSystemTheme />
        <FoldColumns />
      </GraphiQL>
      {need && <TokenBox key={need} need={need} onToken={connect} onClose={() => setNeed(null)} />}
    </>
  );
}
