/* The lines of a comparison: what each run has of a key, in words, and how that stands to the baseline. */
import type { DiffQuery, ParamType } from "../api/gql";
import { shortValue } from "../charts/numbers";
import { isModelFile } from "./models";

export type Comparison = NonNullable<DiffQuery["compareRuns"]>;
export type Section = "Models" | "Params" | "Metrics" | "Tags" | "Source" | "Environment" | "Packages" | "Datasets" | "Files";

export interface Note {
  text: string;
  full: string;
}

export interface Cell {
  text: string;
  /** All of it, where `text` is short. */
  full: string;
  /** Against the baseline, by the declared goal of the metric. */
  verdict: "better" | "worse" | null;
  /** Behind the text: the difference to the baseline. */
  note: Note | null;
  isBest: boolean;
  /** The first of the compared runs with the same bytes; null where this is the first. */
  sameAs: number | null;
  /** The path of the file that can be downloaded. */
  path: string | null;
}

export interface Row {
  section: Section;
  key: string;
  differs: boolean;
  /** Null where the run has none. */
  cell: (run: number) => Cell | null;
  /** Whether the run has something else here than the other run, or only one of them has something. */
  isOther: (run: number, than: number) => boolean;
}

const PLAIN: Omit<Cell, "text" | "full"> = { verdict: null, note: null, isBest: false, sameAs: null, path: null };
const PACKAGE = "package ";
const SHORT_HASH = 10;

type Number = number | "NaN" | "Infinity" | "-Infinity";

/** A param as it was logged. A float shows that it is one, a text that reads like something else has quotes. */
export function paramText(value: unknown, type: ParamType | null): string {
  if (typeof value === "string") {
    return type === "STRING" && isMistakable(value) ? JSON.stringify(value) : value;
  }
  if (type === "FLOAT" && Number.isInteger(value)) {
    return Math.abs(value as number) < 1e21 ? `${value as number}.0` : String(value);
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function isMistakable(text: string): boolean {
  return text.trim() !== text || text === "" || ["true", "false", "null"].includes(text) || Number.isFinite(Number(text));
}

export function metricText(value: Number): string {
  return typeof value === "number" ? shortValue(value) : { NaN: "NaN", Infinity: "∞", "-Infinity": "−∞" }[value];
}

const signed = (value: Number) => (typeof value === "number" && value > 0 ? `+${metricText(value)}` : metricText(value));

/** The difference to the baseline, short and whole; null for none that says something. */
function noteOf(delta: Number | null, relative: Number | null): Note | null {
  if (typeof delta !== "number" || delta === 0) {
    return null;
  }
  const part = typeof relative === "number" ? `, ${signed(Math.round(relative * 1000) / 10)} %` : "";
  return { text: signed(delta), full: `${signed(delta)}${part} against the baseline` };
}

/** Rows whose cells are texts. */
function textRow(section: Section, key: string, differs: boolean, values: readonly (string | null)[], shown = (text: string) => text): Row {
  return {
    section,
    key,
    differs,
    cell: (run) => {
      const full = values[run] ?? null;
      return full === null ? null : { ...PLAIN, text: shown(full), full };
    },
    isOther: (run, than) => values[run] !== values[than],
  };
}

function paramRow({ key, differs, values, types }: Comparison["params"][number]): Row {
  const isThere = (run: number) => types[run] !== null;
  const identity = (run: number) => `${types[run]} ${JSON.stringify(values[run])}`;
  return {
    section: "Params",
    key,
    differs,
    cell: (run) => {
      const text = paramText(values[run], types[run]!);
      return isThere(run) ? { ...PLAIN, text, full: text } : null;
    },
    isOther: (run, than) => identity(run) !== identity(than),
  };
}

function metricRow(metric: Comparison["metrics"][number], bestRun: number): Row {
  const { last, delta, relativeDelta, better } = metric;
  return {
    section: "Metrics",
    key: metric.key,
    differs: metric.differs,
    cell: (run) => {
      const value = last[run];
      if (value === null || value === undefined) {
        return null;
      }
      const isBetter = better?.[run] ?? null;
      return {
        ...PLAIN,
        text: metricText(value),
        full: String(value),
        verdict: isBetter === null ? null : isBetter ? "better" : "worse",
        note: noteOf(delta[run] ?? null, relativeDelta[run] ?? null),
        isBest: metric.differs && run === bestRun,
      };
    },
    isOther: (run, than) => last[run] !== last[than],
  };
}

const hashText = (digest: string) => digest.replace(/^sha256:/, "").slice(0, SHORT_HASH);

function fileRow({ path, differs, digests }: Comparison["artifacts"][number]): Row {
  const first = new Map<string, number>();
  digests.forEach((digest, run) => digest !== null && !first.has(digest) && first.set(digest, run));
  return {
    section: isModelFile(path) ? "Models" : "Files",
    key: path,
    differs,
    cell: (run) => {
      const full = digests[run] ?? null;
      if (full === null) {
        return null;
      }
      const owner = first.get(full)!;
      return { ...PLAIN, text: hashText(full), full, sameAs: owner === run ? null : owner, path };
    },
    isOther: (run, than) => digests[run] !== digests[than],
  };
}

const SOURCE_TEXT: Record<string, (text: string) => string> = {
  commit: (text) => text.slice(0, SHORT_HASH),
  dirty: (text) => (text === "true" ? "uncommitted changes" : "clean"),
  patchDigest: hashText,
};
const SOURCE_KEYS: Record<string, string> = { dirty: "working tree", entryPoint: "entry point", argv: "arguments", patchDigest: "patch" };

/**
 * All lines in the order of the page. The files of models are always there, so that the models of all runs can be
 * downloaded side by side; other files only when they differ, if only differences are wanted.
 */
export function rowsOf(comparison: Comparison, onlyDifferences: boolean): Row[] {
  const runs = new Map(comparison.runs.map(({ id }, index) => [id, index]));
  const files = comparison.artifacts.map(fileRow).filter(({ section, differs }) => section === "Models" || differs || !onlyDifferences);
  const environment = comparison.environment.map(({ key, differs, values }) =>
    key.startsWith(PACKAGE) ? textRow("Packages", key.slice(PACKAGE.length), differs, values) : textRow("Environment", key, differs, values),
  );
  return [
    ...files.filter(({ section }) => section === "Models"),
    ...comparison.params.map(paramRow),
    ...comparison.metrics.map((metric) => metricRow(metric, runs.get(metric.bestLastRunId ?? "") ?? -1)),
    ...comparison.tags.map(({ key, differs, values }) => textRow("Tags", key, differs, values)),
    ...comparison.source.map(({ key, differs, values }) => textRow("Source", SOURCE_KEYS[key] ?? key, differs, values, SOURCE_TEXT[key])),
    ...environment.filter(({ section }) => section === "Environment"),
    ...environment.filter(({ section }) => section === "Packages"),
    ...comparison.inputs.map(({ key, differs, values }) => textRow("Datasets", key, differs, values)),
    ...files.filter(({ section }) => section === "Files"),
  ];
}

/** Those whose section or key has the text, whatever its case. */
export function found(rows: readonly Row[], search: string): Row[] {
  const wanted = search.trim().toLowerCase();
  return rows.filter(({ section, key }) => `${section} ${key}`.toLowerCase().includes(wanted));
}
