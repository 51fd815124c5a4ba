/** The rows of comma- or tab-separated text (RFC 4180): quotes may hold separators, line ends and doubled quotes. */
export function csvRows(text: string, separator: string, most: number): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let quoted = false;
  for (let at = 0; at < text.length && rows.length < most; at += 1) {
    const character = text[at]!;
    if (quoted) {
      if (character !== '"') {
        field += character;
      } else if (text[at + 1] === '"') {
        field += '"';
        at += 1;
      } else {
        quoted = false;
      }
    } else if (character === '"' && field === "") {
      quoted = true;
    } else if (character === separator || character === "\n") {
      row.push(field.endsWith("\r") && character === "\n" ? field.slice(0, -1) : field);
      field = "";
      if (character === "\n") {
        rows.push(row);
        row = [];
      }
    } else {
      field += character;
    }
  }
  if (rows.length < most && (row.length > 0 || field !== "")) {
    rows.push([...row, field]);
  }
  return rows;
}

/** Text up to its last whole line, for a file of which only the beginning was read. */
export function wholeLines(text: string): string {
  return text.slice(0, text.lastIndexOf("\n") + 1) || text;
}
