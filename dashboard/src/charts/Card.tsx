import { useMemo, useRef, useState } from "react";
import { QueryMenu } from "../copy/QueryMenu";
import type { View as UrlView } from "../state/url";
import styles from "./charts.module.css";
import type { Drawing, Line } from "./drawing";
import { drawingOf, type Frame, type Look } from "./frames";
import { useHovered } from "./hover";
import { nearestPlace } from "./nearest";
import { counted, shortValue, wholeNumber } from "./numbers";
import type { Palette } from "./palette";
import { pictureOf, saveFile } from "./picture";
import type { Zoom } from "./plot";
import { PlotView } from "./PlotView";
import { chartSummary, oddity } from "./summary";
import { Swatch } from "./Swatch";
import { Tooltip } from "./Tooltip";
import { ValueTable } from "./ValueTable";
import { type FramesOf, operationOf } from "./useFrames";
import { useOwnRange } from "./useOwnRange";
import { plotViewOf } from "./shown";
import { xText } from "./xaxis";

interface Props {
  metric: string;
  /** null while it is on its way. */
  frame: Frame | null;
  view: UrlView;
  look: Look;
  palette: Palette;
  /** What a line is: a run or a group. */
  noun: string;
  onZoom: (metric: string, zoom: Zoom) => void;
  onPick: (id: string | null) => void;
  /** Save what was logged as a file. */
  onExport: (frame: Frame) => void;
  /** What the frame is an answer to; null while that is not known. */
  asked: FramesOf | null;
}

/** The chart of one metric, with its values as a table, as a picture and as a file. */
export function Card({ metric, frame, view, look, palette, noun, onZoom, onPick, onExport, asked }: Props) {
  const [isTable, setTable] = useState(false);
  const body = useRef<HTMLDivElement>(null);
  const drawing = useMemo(() => (frame === null ? null : drawingOf(frame, look)), [frame, look]);
  const label = useMemo(() => drawing && chartSummary(metric, drawing.lines, noun), [metric, drawing, noun]);
  const plotView = useMemo(() => drawing && plotViewOf(metric, drawing, view, palette), [metric, drawing, view, palette]);

  const ownRange = useOwnRange(view.band === "minmax" && noun === "run" && asked?.withRange === false ? asked : null, metric, view.hl);

  async function savePicture(): Promise<void> {
    const canvas = body.current?.querySelector("canvas");
    if (canvas && drawing) {
      saveFile(await pictureOf(canvas, metric, drawing.lines, palette), `${metric}.png`);
    }
  }

  return (
    <section className={styles["card"]} aria-label={metric}>
      <header>
        <h3 title={metric}>{metric}</h3>
        <div className={styles["actions"]}>
          <button type="button" className="plain" aria-pressed={isTable} disabled={!plotView} onClick={() => setTable(!isTable)}>
            Table
          </button>
          <button type="button" className="plain" disabled={!plotView || isTable} onClick={() => void savePicture()}>
            PNG
          </button>
          <button type="button" className="plain" disabled={!frame} onClick={() => frame && onExport(frame)}>
            CSV
          </button>
          <QueryMenu name={`GraphQL of ${metric}`} operation={operationOf(asked, [metric])} />
        </div>
      </header>
      <div className={styles["body"]} ref={body}>
        {frame === null && <p className={styles["note"]}>Loading…</p>}
        {frame !== null && plotView === null && <p className={styles["note"]}>No {noun} has values of it here.</p>}
        {frame && plotView && isTable && <ValueTable drawing={plotView.drawing} noun={noun} palette={palette} metric={metric} isExact={frame.isExact} />}
        {plotView && label && !isTable && (
          <>
            <PlotView metric={metric} view={plotView} label={label} onZoom={(zoom) => onZoom(metric, zoom)} picked={view.hl} onPick={onPick} ownRange={ownRange} />
            <Tooltip metric={metric} drawing={plotView.drawing} palette={palette} xText={(x) => xText(view.x, x)} />
          </>
        )}
      </div>
      <footer>{frame && drawing && <Facts frame={frame} drawing={drawing} view={view} palette={palette} noun={noun} />}</footer>
    </section>
  );
}

interface FactsProps {
  frame: Frame;
  drawing: Drawing;
  view: UrlView;
  palette: Palette;
  noun: string;
}

/** Below a chart: the line that is hovered or picked, and what the chart is made of. */
function Facts({ frame, drawing, view, palette, noun }: FactsProps) {
  const { id: hovered, x } = useHovered();
  const line = drawing.lines.find(({ id }) => id === (hovered ?? view.hl));
  return (
    <>
      {line && <LineFacts line={line} xs={drawing.xs} x={x} xName={view.x} palette={palette} />}
      {(!line || hovered === null) && <FrameFacts frame={frame} drawing={drawing} noun={noun} />}
    </>
  );
}

interface LineFactsProps {
  line: Line;
  xs: Float64Array;
  /** Where the pointer is; null for the end of the line. */
  x: number | null;
  xName: string;
  palette: Palette;
}

function LineFacts({ line, xs, x, xName, palette }: LineFactsProps) {
  const { values } = line;
  const at = x === null ? values.findLastIndex((value) => !Number.isNaN(value)) : nearestPlace(xs, values, x);
  return (
    <>
      <Swatch slot={line.slot} palette={palette} />
      <span className={styles["name"]}>{line.name}</span>
      <span>{at === -1 ? "no value here" : `${shortValue(values[at]!)} at ${xText(xName, xs[at]!)}`}</span>
    </>
  );
}

function FrameFacts({ frame, drawing, noun }: Pick<FactsProps, "frame" | "drawing" | "noun">) {
  const odd = oddity(drawing.lines, noun);
  return (
    <>
      <span>{counted(frame.series.length, noun)}</span>
      {frame.leftOut > 0 && <span className={styles["warn"]} title="Filter, group or check runs to see others.">{`the newest of ${wholeNumber(frame.series.length + frame.leftOut)}`}</span>}
      {frame.isExact ? (
        <span className={styles["badge"]} title="Every logged point is shown: none was averaged or left out.">
          exact
        </span>
      ) : (
        <span title={`${counted(frame.pointCount, "point")}: each bucket shows the mean of those in it. Zoom in to see them apart.`}>
          {counted(frame.xs.length, "bucket")}
          {frame.isSampled && " of samples"}
        </span>
      )}
      {drawing.asDensity && <span title="The darker, the more of them run there.">density</span>}
      {odd && <span className={styles["warn"]}>{odd}</span>}
    </>
  );
}
