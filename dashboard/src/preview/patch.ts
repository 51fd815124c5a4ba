/* A unified diff as lines that can be coloured and counted. */
export type PatchLineKind = "file" | "hunk" | "added" | "removed" | "same" | "note";

export interface PatchLine {
  kind: PatchLineKind;
  text: string;
  /** Line numbers, from 1; null where the line is not in that version. */
  before: number | null;
  after: number | null;
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;

/** Line by line. A hunk says how long it is, so that a removed line such as `-- x` is not taken for the head of a file. */
export function patchLines(patch: string): PatchLine[] {
  const lines: PatchLine[] = [];
  let before = 0;
  let after = 0;
  let left = { before: 0, after: 0 };
  for (const text of patch.replace(/\n$/, "").split("\n")) {
    const hunk = HUNK.exec(text);
    const inside = left.before > 0 || left.after > 0;
    if (hunk) {
      [before, after] = [Number(hunk[1]), Number(hunk[3])];
      left = { before: Number(hunk[2] ?? 1), after: Number(hunk[4] ?? 1) };
      lines.push({ kind: "hunk", text, before: null, after: null });
    } else if (inside && text.startsWith("+")) {
      lines.push({ kind: "added", text, before: null, after: after++ });
      left.after -= 1;
    } else if (inside && text.startsWith("-")) {
      lines.push({ kind: "removed", text, before: before++, after: null });
      left.before -= 1;
    } else if (inside && !text.startsWith("\\")) {
      lines.push({ kind: "same", text, before: before++, after: after++ });
      left = { before: left.before - 1, after: left.after - 1 };
    } else {
      const kind = /^(diff |--- |\+\+\+ )/.test(text) ? "file" : "note";
      lines.push({ kind, text, before: null, after: null });
    }
  }
  return lines;
}

export interface PatchSummary {
  files: number;
  added: number;
  removed: number;
}

export function summaryOf(lines: readonly PatchLine[]): PatchSummary {
  const count = (kind: PatchLineKind) => lines.filter((line) => line.kind === kind).length;
  const heads = (mark: string) => lines.filter(({ kind, text }) => kind === "file" && text.startsWith(mark)).length;
  return { files: heads("diff ") || heads("+++ "), added: count("added"), removed: count("removed") };
}
