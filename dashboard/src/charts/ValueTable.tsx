import { useMemo } from "react";
import styles from "./charts.module.css";
import type { Drawing } from "./drawing";
import { shortValue, wholeNumber } from "./numbers";
import type { Palette } from "./palette";
import { summarised } from "./summary";
import { Swatch } from "./Swatch";

interface Props {
  metric: string;
  drawing: Drawing;
  /** What a line is: a run or a group. */
  noun: string;
  palette: Palette;
  /** Whether these are the logged values; else they are means of buckets, and the table says so. */
  isExact: boolean;
}

/** What a chart shows, in figures: a row for each line, in the order of the runs. */
export function ValueTable({ metric, drawing, noun, palette, isExact }: Props) {
  const rows = useMemo(() => drawing.lines.map(summarised), [drawing]);
  return (
    <div className={styles["values"]} tabIndex={0} role="region" aria-label={`Values of ${metric}`}>
      <table>
        {!isExact && <caption>Of the means of buckets. Zoom in until it is exact, or save the CSV, for what was logged.</caption>}
        <thead>
          <tr>
            <th scope="col">{noun === "run" ? "Run" : "Group"}</th>
            <th scope="col">Last</th>
            <th scope="col">Min</th>
            <th scope="col">Max</th>
            <th scope="col">NaN or ∞</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ line, last, min, max }) => (
            <tr key={line.id}>
              <th scope="row">
                <Swatch slot={line.slot} palette={palette} /> {line.name}
              </th>
              {[last, min, max].map((value, i) => (
                <td key={i}>{Number.isNaN(value) ? "–" : shortValue(value)}</td>
              ))}
              <td>{line.nonFiniteCount > 0 ? wholeNumber(line.nonFiniteCount) : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
