import { useCallback, useMemo, useState } from "react";
import { Provider } from "urql";
import { clientWith } from "./api/client";
import { forgetToken, keepToken, keptToken } from "./api/token";
import { Pages } from "./routes";
import { ThemeContext, useDocumentTheme } from "./state/theme";
import { useLinkedTheme } from "./state/view";
import { KeysProvider } from "./ui/Keys";
import { Shell } from "./ui/Shell";
import { TokenBox, type TokenNeed } from "./ui/TokenBox";

const PAGE = <Pages />; // one element, so that what changes around it does not render it

/** The dashboard: a client for the token of this tab, and the page of the address. */
export function App() {
  const [token, setToken] = useState(keptToken);
  const [need, setNeed] = useState<TokenNeed | null>(token === null ? "missing" : null);
  const theme = useDocumentTheme(useLinkedTheme());

  const refused = useCallback(() => {
    forgetToken();
    setToken(null);
    setNeed("refused");
  }, []);
  const client = useMemo(() => (token === null ? null : clientWith(token, refused)), [token, refused]);

  function connect(given: string): void {
    keepToken(given);
    setToken(given);
    setNeed(null);
  }

  return (
    <ThemeContext value={theme}>
      {client && (
        <Provider value={client} key={token}>
          <KeysProvider>
            <Shell onChangeToken={() => setNeed("change")}>
              {PAGE}
            </Shell>
          </KeysProvider>
        </Provider>
      )}
      {need && <TokenBox key={need} need={need} onToken={connect} onClose={() => setNeed(token === null ? "missing" : null)} />}
    </ThemeContext>
  );
}
