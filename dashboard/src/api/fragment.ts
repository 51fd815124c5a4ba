/** What a link to a page may carry. It is in the fragment, so that no server and no log ever sees it. */
export interface Fragment {
  token: string | null;
  query: string | null;
  variables: string | null;
}

/** Read `#token=…&q=…&v=…` and take it out of the address bar, so that a copied address gives nothing away. */
export function takeFragment(): Fragment {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash) {
    history.replaceState(history.state, "", location.pathname + location.search);
  }
  return { token: given.get("token"), query: given.get("q"), variables: given.get("v") };
}

/** A link that opens GraphiQL with the operation filled in. It never carries the token. */
export function linkTo(query: string, variables: string): string {
  const carried = new URLSearchParams({ q: query });
  if (variables.trim()) {
    carried.set("v", variables);
  }
  return `${location.origin}/graphiql#${carried}`;
}

/** Begin again when a link is pasted into the address bar of an open page, which changes nothing but the fragment. */
export function followPastedLinks(): void {
  addEventListener("hashchange", () => {
    if (location.hash.length > 1) {
      location.reload();
    }
  });
}
