/*
 * Numbers as charts show them: short, and told apart by as many digits as that takes.
 */
import { count as grouped } from "../table/format";

const BIG = 1e6;
const SMALL = 1e-4;
const UNITS = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;

/** A value for people, to four significant digits: "0.2131", "12,345", "3.2e-7". */
export function shortValue(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) {
    return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  }
  if (size !== 0 && (size < SMALL || size >= BIG)) {
    return minus(value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e"));
  }
  return minus(grouped(Number(value.toPrecision(size >= 1000 ? 6 : 4))));
}

/** A whole number for people: "12,345". */
export function wholeNumber(value: number): string {
  return minus(grouped(Math.round(value)));
}

/** "1 run", "2 runs", "1,204 runs". */
export function counted(count: number, noun: string): string {
  return `${wholeNumber(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function minus(text: string): string {
  return text.replace(/^-/, "−");
}

/** The labels of ticks `step` apart: the decimals that the step has, and "k", "M" or "G" where numbers get long. */
export function tickLabels(ticks: readonly number[], step: number): string[] {
  const largest = Math.max(0, ...ticks.map(Math.abs));
  if (largest >= 1e12 || step < SMALL / 10) {
    return ticks.map((tick) => (tick === 0 ? "0" : minus(shortExponential(tick))));
  }
  const [unit, letter] = UNITS.find(([size]) => largest >= size && largest >= 1e4) ?? [1, ""];
  const decimals = decimalsOf(step / unit);
  return ticks.map((tick) => (tick === 0 ? "0" : `${minus((tick / unit).toFixed(decimals))}${letter}`));
}

/** How many decimals a step has: 0 for 20, 1 for 2.5, 2 for 0.05. */
function decimalsOf(step: number): number {
  let decimals = 0;
  while (decimals < 8 && Math.abs(Math.round(step * 10 ** decimals) / 10 ** decimals / step - 1) > 1e-6) {
    decimals += 1;
  }
  return decimals;
}

function shortExponential(value: number): string {
  return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
}

/** The labels of a logarithmic axis: only at round numbers, "1e-5" where they get long. */
export function logLabels(ticks: readonly (number | null)[]): string[] {
  return ticks.map((tick) => {
    if (tick === null || Math.abs(Number(tick.toPrecision(1)) / tick - 1) > 1e-9) {
      return "";
    }
    return tick >= 1e-3 && tick < 1e4 ? String(Number(tick.toPrecision(1))) : shortExponential(tick);
  });
}

const SPANS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "m"],
  [1_000, "s"],
] as const;

/** A span of milliseconds in its two largest units: "2d 4h", "12m 30s", "1.5s". */
export function duration(ms: number): string {
  const size = Math.abs(ms);
  const first = SPANS.findIndex(([span]) => size >= span);
  if (first === -1) {
    return size === 0 ? "0" : `${shortValue(ms)}ms`;
  }
  const [span, unit] = SPANS[first]!;
  const sign = ms < 0 ? "−" : "";
  const next = SPANS[first + 1];
  if (next === undefined) {
    return `${sign}${Number((size / span).toFixed(2))}${unit}`;
  }
  const whole = Math.floor(size / span);
  const rest = Math.floor((size - whole * span) / next[0]);
  return `${sign}${whole}${unit}${rest > 0 ? ` ${rest}${next[1]}` : ""}`;
}

/** A number that came as 32 bits, in the fewest digits that give the same 32 bits: 0.1, not 0.10000000149011612. */
export function float32Text(value: number): string {
  if (!Number.isFinite(value)) {
    return String(value);
  }
  for (let digits = 1; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) {
      return String(short);
    }
  }
  return String(Number(value.toPrecision(9)));
}
