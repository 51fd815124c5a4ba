import type { Range } from "../state/url";

/** From the least to the greatest finite value (above zero for a logarithmic axis); null when there is none. */
export function extent(columns: Iterable<ArrayLike<number>>, isLog = false): Range | null {
  const above = isLog ? 0 : -Infinity;
  let from = Infinity;
  let to = -Infinity;
  for (const column of columns) {
    for (let i = 0; i < column.length; i += 1) {
      const value = column[i]!;
      if (value < from && value > above) {
        from = value;
      }
      if (value > to && value < Infinity && value > above) {
        to = value;
      }
    }
  }
  return from <= to ? [from, to] : null;
}

/** The range with some air around it, so that no line lies on the frame; never empty. */
export function padded([from, to]: Range, isLog = false, share = 0.05): Range {
  if (isLog) {
    const air = (Math.log10(to / from) || 1) * share;
    return [from * 10 ** -air, to * 10 ** air];
  }
  const air = (to - from) * share || Math.abs(to) * share || 1;
  return [from - air, to + air];
}

/** The range scaled about its middle; above 1 shows more. */
export function zoomed([from, to]: Range, factor: number, isLog = false): Range {
  if (isLog) {
    const middle = Math.sqrt(from * to);
    const half = Math.sqrt(to / from) ** factor;
    return [middle / half, middle * half];
  }
  const middle = (from + to) / 2;
  const half = ((to - from) / 2) * factor;
  return [middle - half, middle + half];
}

/** The range moved up by this share of itself; a negative share moves it down. */
export function moved([from, to]: Range, share: number, isLog = false): Range {
  if (isLog) {
    const by = (to / from) ** share;
    return [from * by, to * by];
  }
  const by = (to - from) * share;
  return [from + by, to + by];
}
