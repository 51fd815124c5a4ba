/* Light or dark: what the link says, else what was chosen in this browser, else what the system says. */
import { createContext, use, useEffect, useSyncExternalStore } from "react";
import type { Theme } from "./url";

const KEY = "runstone.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export const ThemeContext = createContext<Theme>("light");
export const useTheme = () => use(ThemeContext);

const watchers = new Set<() => void>();

const isTheme = (text: string | null): text is Theme => text === "light" || text === "dark";

function keptOrSystemTheme(): Theme {
  const kept = localStorage.getItem(KEY);
  return isTheme(kept) ? kept : systemTheme();
}

/** Keep it for the next time; what is also the system's choice need not be kept. */
export function keepTheme(theme: Theme): void {
  if (theme === systemTheme()) {
    localStorage.removeItem(KEY);
  } else {
    localStorage.setItem(KEY, theme);
  }
  watchers.forEach((changed) => changed());
}

const systemTheme = (): Theme => (system.matches ? "dark" : "light");

function onChange(changed: () => void): () => void {
  watchers.add(changed);
  system.addEventListener("change", changed);
  return () => {
    watchers.delete(changed);
    system.removeEventListener("change", changed);
  };
}

/** The theme that applies, put on the document for the style sheets. */
export function useDocumentTheme(linked: Theme | null): Theme {
  const own = useSyncExternalStore(onChange, keptOrSystemTheme);
  const theme = linked ?? own;
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
  }, [theme]);
  return theme;
}
