const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g;
const INDENT = "  ";

/** The same JSON on lines of its own, every number and text as it was written; null when it is not JSON. */
export function indented(json: string): string | null {
  try {
    JSON.parse(json);
  } catch {
    return null;
  }
  let depth = 0;
  let before = "";
  let text = "";
  for (const [token] of json.matchAll(TOKEN)) {
    const closes = token === "]" || token === "}";
    depth -= closes ? 1 : 0;
    const opened = before === "[" || before === "{";
    if ((opened && !closes) || (closes && !opened) || before === ",") {
      text += `\n${INDENT.repeat(depth)}`;
    } else if (before === ":") {
      text += " ";
    }
    text += token;
    depth += token === "[" || token === "{" ? 1 : 0;
    before = token;
  }
  return text;
}
