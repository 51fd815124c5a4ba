import type { AxisInput } from "../api/gql";
import type { Range } from "../state/url";
import type { XKind } from "./axes";
import { duration, shortValue, wholeNumber } from "./numbers";

/** The kind of the axis that the address names: "step", "wall", "rel", or "metric:" and a key. */
export function xKindOf(x: string): XKind {
  return x === "wall" || x === "rel" || x === "step" ? x : "metric";
}

/** The same for the server, between these ends. */
export function axisInput(x: string, range: Range | null): AxisInput {
  const ends = { min: range?.[0] ?? null, max: range?.[1] ?? null };
  switch (xKindOf(x)) {
    case "wall":
      return { kind: "WALL_TIME", ...ends };
    case "rel":
      return { kind: "RELATIVE_TIME", ...ends };
    case "step":
      return { kind: "STEP", ...ends };
    case "metric":
      return { kind: "METRIC", metric: metricOf(x), ...ends };
  }
}

function metricOf(x: string): string {
  return x.slice(x.indexOf(":") + 1);
}

/** A place on the x axis for people: "step 12,340", "2h 5m", a date, "epoch 3.5". */
export function xText(x: string, value: number): string {
  switch (xKindOf(x)) {
    case "wall":
      return new Date(value).toLocaleString();
    case "rel":
      return duration(value);
    case "step":
      return `step ${wholeNumber(value)}`;
    case "metric":
      return `${metricOf(x)} ${shortValue(value)}`;
  }
}

/** A range of the x axis for people. */
export function rangeText(x: string, [from, to]: Range): string {
  return `${xText(x, from)} – ${xText(x, to).replace(/^\w+ (?=[\d−])/, "")}`;
}
