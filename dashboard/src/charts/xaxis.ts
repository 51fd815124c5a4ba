import { duration, shortValue, wholeNumber } from "./numbers";
import type { XKind } from "./axes";

/** The kind of the axis that the address names: "step", "wall", "rel", or "metric:" and a key. */
export function xKindOf(x: string): XKind {
  return x === "wall" || x === "rel" || x === "step" ? x : "metric";
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
      return `${x.slice(x.indexOf(":") + 1)} ${shortValue(value)}`;
  }
}
