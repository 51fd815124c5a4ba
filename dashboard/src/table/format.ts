/* How the values of cells are written: short enough to compare at a glance, in full in the title. */
import type { Column } from "../state/url";

export const ABSENT = "–";

const UNITS: readonly (readonly [string, number])[] = [["d", 86_400], ["h", 3_600], ["m", 60]];

/** A number with its thousands apart. By hand, because the browser's first formatter takes longer than all other cells. */
export function count(value: number): string {
  const [whole = "", ...fraction] = String(value).split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...fraction].join(".");
}

/** `4 d 2 h`, `1 h 5 m`, `12.3 s`, `46 ms`. */
export function duration(seconds: number): string {
  if (seconds < 0.1) {
    return `${Math.round(seconds * 1000)} ms`;
  }
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  if (at === -1) {
    return `${seconds.toFixed(1)} s`;
  }
  const [unit, size] = UNITS[at]!;
  const [smaller, part] = UNITS[at + 1] ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit} ${Math.floor((seconds % size) / part)} ${smaller}`;
}

/** `just now`, `5 min ago`, `3 h ago`, `2 days ago`, and the date once it is older than four weeks. */
export function ago(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1000;
  if (seconds < 60) {
    return "just now";
  }
  if (seconds < 3_600) {
    return `${Math.floor(seconds / 60)} min ago`;
  }
  if (seconds < 86_400) {
    return `${Math.floor(seconds / 3_600)} h ago`;
  }
  const days = Math.floor(seconds / 86_400);
  return days <= 28 ? `${days} day${days === 1 ? "" : "s"} ago` : time.slice(0, 10);
}

/** Whole numbers as they are, others to six digits, or five where two zeros come before them. */
export function decimal(value: number): string {
  if (Number.isInteger(value)) {
    return Math.abs(value) < 1e7 ? String(value) : value.toExponential(4).replace(/\.?0+e/, "e");
  }
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? String(Number(value.toPrecision(size < 1e-2 ? 5 : 6))) : value.toExponential(3).replace(/\.?0+e/, "e");
}

/** A result: to four digits, each written, so that results stand below each other digit by digit. */
export function result(value: number): string {
  const size = Math.abs(value);
  return Number.isInteger(value) || size < 1e-3 || size >= 1e4 ? decimal(Number(value.toPrecision(Number.isInteger(value) ? 15 : 4))) : value.toPrecision(4);
}

/** A value in full. */
export function exact(value: unknown): string {
  return value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

/** A value in a cell. */
export function brief({ area, key }: Column, value: unknown, now: number): string {
  if (value === null || value === undefined) {
    return ABSENT;
  }
  if (area === "ATTRIBUTE" && typeof value === "string" && key.endsWith("At")) {
    return ago(value, now);
  }
  if (area === "ATTRIBUTE" && typeof value === "number" && key === "durationSeconds") {
    return duration(value);
  }
  if (area === "SOURCE" && key === "commit" && typeof value === "string") {
    return value.slice(0, 8);
  }
  if (typeof value !== "number") {
    return exact(value);
  }
  return area === "METRIC" ? result(value) : decimal(value);
}
