import "./ui/tokens.css";
import "./ui/base.css";
import { createRoot } from "react-dom/client";
import { followPastedLinks, takeFragment } from "./api/fragment";
import { keepToken } from "./api/token";
import { App } from "./App";

const { token } = takeFragment();
if (token !== null) {
  keepToken(token);
}
createRoot(document.getElementById("page")!).render(<App />);
followPastedLinks();
