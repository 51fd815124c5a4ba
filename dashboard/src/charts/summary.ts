import { type Line, ODDITIES, type Oddity } from "./drawing";
import { counted, shortValue, wholeNumber } from "./numbers";
import { extent } from "./ranges";

/** What one line does in the shown range. */
export interface LineSummary {
  line: Line;
  last: number;
  min: number;
  max: number;
}

/** Of the finite values; NaN where there is none. */
export function summarised(line: Line): LineSummary {
  const [min, max] = extent([loggedOf(line)]) ?? [NaN, NaN];
  return { line, last: lastOf(line), min, max };
}

const loggedOf = ({ raw, values }: Line): Float32Array => raw ?? values;

/** The last finite value; NaN where there is none. */
function lastOf(line: Line): number {
  return loggedOf(line).findLast(Number.isFinite) ?? NaN;
}

/** A chart in a sentence, for who does not see it. `noun` is what a line is: "run" or "group". */
export function chartSummary(metric: string, lines: readonly Line[], noun: string): string {
  const ends = lines.map((line) => ({ line, last: lastOf(line) })).filter(({ last }) => !Number.isNaN(last));
  const first = ends[0];
  const parts = [metric, counted(lines.length, noun)];
  if (first === undefined) {
    return [...parts, "no values in this range"].join(", ");
  }
  const lowest = ends.reduce((best, each) => (each.last < best.last ? each : best), first);
  const highest = ends.reduce((best, each) => (each.last > best.last ? each : best), first);
  parts.push(
    lowest === highest
      ? `${lowest.line.name} ends at ${shortValue(lowest.last)}`
      : `ends lowest ${lowest.line.name} ${shortValue(lowest.last)}, highest ${highest.line.name} ${shortValue(highest.last)}`,
  );
  const odd = oddity(lines, noun);
  return (odd ? [...parts, odd] : parts).join(", ");
}

const ODDITY_NAMES: Record<Oddity, string> = { nan: "✕ NaN", infinity: "▲ ∞", negativeInfinity: "▼ −∞" };

/** "3 not finite in 2 runs: ✕ NaN ▲ ∞", with the signs that the chart marks them with; null when every value is finite. */
export function oddity(lines: readonly Line[], noun: string): string | null {
  const odd = lines.filter((line) => line.nonFiniteCount > 0);
  const total = odd.reduce((sum, line) => sum + line.nonFiniteCount, 0);
  const kinds = ODDITIES.filter((kind) => odd.some(({ marks }) => marks[kind].length > 0)).map((kind) => ODDITY_NAMES[kind]);
  return total === 0 ? null : `${wholeNumber(total)} not finite in ${counted(odd.length, noun)}: ${kinds.join(" ")}`;
}
