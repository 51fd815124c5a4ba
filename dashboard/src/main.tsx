import "./ui/tokens.css";
import "./ui/base.css";
import { createRoot } from "react-dom/client";
import { followPastedLinks } from "./api/fragment";
import { App } from "./App";

createRoot(document.getElementById("page")!).render(<App />);
followPastedLinks();
