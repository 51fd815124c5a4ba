import "@graphiql/react/style.css";
import "@graphiql/plugin-history/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "graphiql/graphiql.css"; // without graphiql/style.css, which carries two web fonts
import "../ui/tokens.css";
import "./style.css";
import "./workers";
import { createRoot } from "react-dom/client";
import { takeFragment } from "./fragment";
import { Page } from "./Page";
import { keepToken } from "./token";

const fragment = takeFragment();
if (fragment.token !== null) {
  keepToken(fragment.token);
}
createRoot(document.getElementById("page")!).render(<Page fragment={fragment} />);

// A link pasted into the address bar of an open page changes nothing but the fragment: begin again with it.
addEventListener("hashchange", () => {
  if (location.hash.length > 1) {
    location.reload();
  }
});
