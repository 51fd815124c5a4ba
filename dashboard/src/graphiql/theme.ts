/* The editor's colours: GraphiQL's own themes with Runstone's accent. */
type Monaco = typeof import("monaco-graphql/esm/monaco-editor.js");

export const EDITOR_THEME = { light: "runstone-light", dark: "runstone-dark" } as const;

interface Palette {
  base: "vs" | "vs-dark";
  bg: string;
  fg: string;
  muted: string;
  accent: string;
  key: string;
  text: string;
  number: string;
}

const LIGHT: Palette = {
  base: "vs", bg: "#ffffff", fg: "#1b1f24", muted: "#59636e", accent: "#0b62c4", key: "#0b62c4", text: "#1a7f37", number: "#8a5a00",
};
const DARK: Palette = {
  base: "vs-dark", bg: "#0f1318", fg: "#e6edf3", muted: "#9aa5b1", accent: "#6cb1ff", key: "#6cb1ff", text: "#4ac26b", number: "#e3b341",
};

function define(monaco: Monaco, name: string, palette: Palette): void {
  const { base, bg, fg, muted, accent, key, text, number } = palette;
  const rule = (token: string, color: string) => ({ token, foreground: color.slice(1) });
  const faint = `${accent}1f`;
  monaco.editor.defineTheme(name, {
    base,
    inherit: true,
    rules: [
      rule("comment", muted),
      rule("comment.gql", muted),
      rule("keyword", accent),
      rule("keyword.gql", accent),
      rule("key.identifier.gql", fg),
      rule("argument.identifier.gql", muted),
      rule("type.identifier.gql", number),
      rule("string", text),
      rule("string.gql", text),
      rule("number", number),
      rule("number.gql", number),
      rule("string.key.json", key),
      rule("string.value.json", text),
      rule("number.json", number),
      rule("keyword.json", number),
      rule("delimiter", muted),
    ],
    colors: {
      "editor.background": "#ffffff00",
      "editor.foreground": fg,
      "editorLineNumber.foreground": `${muted}b3`,
      "editorLineNumber.activeForeground": fg,
      "editorBracketHighlight.foreground1": muted,
      "editorBracketHighlight.foreground2": muted,
      "editorBracketHighlight.foreground3": muted,
      "editorCursor.foreground": accent,
      "editorHoverWidget.background": bg,
      "editorLink.activeForeground": accent,
      "editorSuggestWidget.background": bg,
      "editorSuggestWidget.selectedBackground": faint,
      "editorSuggestWidget.selectedForeground": accent,
      "editorWidget.background": bg,
      "list.highlightForeground": accent,
      "list.hoverBackground": faint,
      "menu.background": bg,
      "menu.selectionBackground": faint,
      "menu.selectionForeground": accent,
      "quickInput.background": bg,
      "quickInputList.focusBackground": faint,
      "scrollbar.shadow": "#ffffff00",
      "textLink.foreground": accent,
      "toolbar.hoverBackground": faint,
      focusBorder: accent,
    },
  });
}

/* GraphiQL loads the same module later; asking first means that the names exist when it makes its editors. */
void import("monaco-graphql/esm/monaco-editor.js").then((monaco) => {
  define(monaco, EDITOR_THEME.light, LIGHT);
  define(monaco, EDITOR_THEME.dark, DARK);
});
