import "@graphiql/react/style.css";
import "@graphiql/plugin-history/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "graphiql/graphiql.css"; // without graphiql/style.css, which carries two web fonts
import "../ui/tokens.css";
import "./style.css";
import "./workers";
import { createRoot } from "react-dom/client";
import { followPastedLinks, takeFragment } from "../api/fragment";
import { Page } from "./Page";
import { keepToken } from "../api/token";

const fragment = takeFragment();
if (fragment.token !== null) {
  keepToken(fragment.token);
}
createRoot(document.getElementById("page")!).render(<Page fragment={fragment} />);
followPastedLinks();
