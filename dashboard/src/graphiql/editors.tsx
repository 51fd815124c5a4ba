import { ToolbarButton, useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useEffect, useState } from "react";
import { linkTo } from "../api/fragment";

/** Gives the editors our type, which GraphiQL has no property for. */
export function EditorType() {
  const editors = useGraphiQL(({ queryEditor, variableEditor, responseEditor }) => ({ queryEditor, variableEditor, responseEditor }));
  useEffect(() => {
    const fontFamily = getComputedStyle(document.documentElement).getPropertyValue("--mono");
    for (const editor of Object.values(editors)) {
      editor?.updateOptions({ fontFamily, fontSize: 13, lineHeight: 20 });
    }
  }, [editors]);
  return null;
}

const SCALAR = String.raw`(?:"(?:[^"\\\n]|\\.)*"|[-\w.+]+)`;
const COLUMN = new RegExp(String.raw`\[\n(?: +${SCALAR},?\n){1,24} +\]`, "g");
const WIDTH = 72;

/** The same JSON with short lists of plain values on one line each. */
export function folded(json: string): string {
  return json.replace(COLUMN, (column) => {
    const line = `[${column.slice(1, -1).trim().replace(/\n +/g, " ")}]`;
    return line.length <= WIDTH ? line : column;
  });
}

/** Shows the columns of an answer, such as one value per compared run, side by side rather than one below the other. */
export function FoldColumns() {
  const editor = useGraphiQL((state) => state.responseEditor);
  useEffect(() => {
    function fold(): void {
      const shown = editor?.getValue() ?? "";
      const better = folded(shown);
      if (better !== shown) {
        editor?.setValue(better);
      }
    }
    // Not at once: the editor's other listeners still expect the text that they are told about.
    const listening = editor?.onDidChangeModelContent(() => queueMicrotask(fold));
    return () => listening?.dispose();
  }, [editor]);
  return null;
}

/** Keeps the editors' colours with the system's, like those of the page, also when it turns dark while the page is open. */
export function FollowSystemTheme() {
  const { setTheme } = useGraphiQLActions();
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => setTheme(null);
    dark.addEventListener("change", follow);
    return () => dark.removeEventListener("change", follow);
  }, [setTheme]);
  return null;
}

/** Copies a link that opens this page with the current operation and variables filled in. */
export function CopyLink() {
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  const [copied, setCopied] = useState(false);

  async function copy(): Promise<void> {
    const link = linkTo(queryEditor?.getValue() ?? "", variableEditor?.getValue() ?? "");
    try {
      await navigator.clipboard.writeText(link);
    } catch {
      prompt("Copy this link", link); // browsers keep the clipboard to https and localhost
      return;
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  }

  return (
    <ToolbarButton onClick={() => void copy()} label={copied ? "Link copied" : "Copy a link to this operation"}>
      <svg viewBox="0 0 16 16" className="graphiql-toolbar-icon" fill="none" stroke="currentColor" strokeLinecap="round" aria-hidden="true">
        {copied ? <path d="m3 8.5 3.5 3.5L13 4.5" /> : <path d="M6.5 9.5a3 3 0 0 0 4.200 0l2.400-2.400a3 3 0 0 0-4.200-4.200l-.7.7M9.5 6.5a3 3 0 0 0-4.200 0L2.900 8.900a3 3 0 0 0 4.200 4.200l.7-.7" />}
      </svg>
    </ToolbarButton>
  );
}
