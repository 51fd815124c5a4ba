import { useMemo } from "react";
import styles from "./charts.module.css";
import type { Drawing, Line } from "./drawing";
import { useHovered } from "./hover";
import { valueAt } from "./nearest";
import { shortValue } from "./numbers";
import type { Palette } from "./palette";
import { Swatch } from "./Swatch";

const ROWS_MAX = 8;

interface Reading {
  line: Line;
  value: number;
}

/** The lines that lie nearest to the hovered one at `x`, from high to low, itself among them. */
function readingsAt({ xs, lines }: Drawing, id: string, x: number): Reading[] {
  const readings = lines
    .map((line) => ({ line, value: valueAt(xs, line.values, x) }))
    .filter(({ value }) => !Number.isNaN(value))
    .sort((a, b) => b.value - a.value);
  const at = readings.findIndex(({ line }) => line.id === id);
  const first = Math.max(0, Math.min(at - ROWS_MAX / 2, readings.length - ROWS_MAX));
  return readings.slice(first, first + ROWS_MAX);
}

/** The values at the pointer, in the corner that it is not in. */
export function Tooltip({ drawing, palette, xText }: { drawing: Drawing; palette: Palette; xText: (x: number) => string }) {
  const { id, x } = useHovered();
  const readings = useMemo(() => (id !== null && x !== null ? readingsAt(drawing, id, x) : []), [drawing, id, x]);
  const isLeft = x !== null && x > (drawing.xs[0]! + drawing.xs.at(-1)!) / 2;
  if (x === null || readings.length === 0) {
    return null;
  }
  return (
    <div className={styles["tooltip"]} data-side={isLeft ? "left" : "right"} aria-hidden="true">
      <p>{xText(x)}</p>
      <table>
        <tbody>
          {readings.map(({ line, value }) => (
            <tr key={line.id} data-hovered={line.id === id || undefined}>
              <td>
                <Swatch slot={line.slot} palette={palette} />
              </td>
              <td className={styles["name"]}>{line.name}</td>
              <td>{shortValue(value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
