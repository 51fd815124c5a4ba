import type { Range, View as UrlView } from "../state/url";
import { type Drawing, valueRange } from "./drawing";
import type { Palette } from "./palette";
import type { View } from "./plot";
import { padded } from "./ranges";
import { xKindOf } from "./xaxis";

/** The axes for what is drawn; null when nothing is. */
export function plotViewOf(metric: string, drawing: Drawing, view: UrlView, palette: Palette): View | null {
  const first = drawing.xs[0];
  const last = drawing.xs.at(-1);
  if (first === undefined || last === undefined) {
    return null;
  }
  const xRange = view.xr ?? (first < last ? [first, last] : padded([first, last], view.xlog));
  const found = valueRange(drawing, xRange, view.ylog);
  const hasMarks = drawing.lines.some((line) => line.nonFiniteCount > 0);
  if (found === null && !hasMarks) {
    return null;
  }
  return {
    drawing,
    xKind: xKindOf(view.x),
    xIsLog: view.xlog,
    yIsLog: view.ylog,
    xRange: view.xlog && xRange[0] <= 0 ? [first, xRange[1]] : xRange,
    yRange: yRangeOf(metric, view) ?? padded(found ?? (view.ylog ? [0.1, 1] : [0, 1]), view.ylog),
    palette,
  };
}

/** The range that the address gives the y axis of this chart; null when it gives none that can be shown. */
function yRangeOf(metric: string, { yr, ym, ylog }: UrlView): Range | null {
  return yr && (ym === null || ym === metric) && (!ylog || yr[0] > 0) ? yr : null;
}
