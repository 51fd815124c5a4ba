import { useMemo } from "react";
import styles from "./charts.module.css";
import type { Drawing, Line } from "./drawing";
import { useHovered } from "./hover";
import { nearestPlace } from "./nearest";
import { shortValue } from "./numbers";
import type { Palette } from "./palette";
import { Swatch } from "./Swatch";

const ROWS_MAX = 8;

interface Reading {
  line: Line;
  x: number;
  value: number;
}

/** The lines that lie nearest to the hovered one at `x`, from high to low, itself among them. */
function readingsAt({ xs, lines }: Drawing, id: string, x: number): Reading[] {
  const readings = lines
    .map((line) => ({ line, at: nearestPlace(xs, line.values, x) }))
    .filter(({ at }) => at !== -1)
    .map(({ line, at }) => ({ line, x: xs[at]!, value: line.values[at]! }))
    .sort((a, b) => b.value - a.value);
  const at = readings.findIndex(({ line }) => line.id === id);
  const first = Math.max(0, Math.min(at - ROWS_MAX / 2, readings.length - ROWS_MAX));
  return readings.slice(first, first + ROWS_MAX);
}

interface Props {
  metric: string;
  drawing: Drawing;
  palette: Palette;
  xText: (x: number) => string;
}

/** The values at the pointer while it is in this chart, in the corner that it is not in. */
export function Tooltip({ metric, drawing, palette, xText }: Props) {
  const { id, x, chart } = useHovered();
  const readings = useMemo(
    () => (id !== null && x !== null && chart === metric ? readingsAt(drawing, id, x) : []),
    [metric, drawing, id, x, chart],
  );
  const isLeft = x !== null && x > (drawing.xs[0]! + drawing.xs.at(-1)!) / 2;
  if (readings.length === 0) {
    return null;
  }
  return (
    <div className={styles["tooltip"]} data-side={isLeft ? "left" : "right"} aria-hidden="true">
      <p>{xText(readings.find(({ line }) => line.id === id)!.x)}</p>
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
