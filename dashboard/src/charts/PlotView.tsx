import "uplot/dist/uPlot.min.css";
import { useContext, useEffect, useLayoutEffect, useRef } from "react";
import styles from "./charts.module.css";
import type { OwnRange } from "./drawing";
import { HoverContext } from "./hover";
import { Plot, type View, type Zoom } from "./plot";

interface Props {
  metric: string;
  view: View;
  /** What the plot shows, in a sentence. */
  label: string;
  onZoom: (zoom: Zoom) => void;
  /** The line that stands out while nothing is hovered. */
  picked: string | null;
  onPick: (id: string | null) => void;
  /** Of the line that stands out, if it is known. */
  ownRange: OwnRange | null;
}

/** A plot that fills its place, shares its hover with the page, and asks for another range when one is dragged. */
export function PlotView({ metric, view, label, onZoom, picked, onPick, ownRange }: Props) {
  const hover = useContext(HoverContext);
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot>(null);
  const asked = useRef({ onZoom, onPick });

  useLayoutEffect(() => {
    asked.current = { onZoom, onPick };
  });

  useLayoutEffect(() => {
    const made = new Plot(host.current!, {
      onPoint: (id, x) => hover.set({ id, x, chart: metric }),
      onLeave: hover.clear,
      onZoom: (zoom) => asked.current.onZoom(zoom),
      onPick: (id) => asked.current.onPick(id),
    });
    plot.current = made;
    return () => made.destroy();
  }, [hover, metric]);

  useLayoutEffect(() => plot.current!.show(view), [view, hover, metric]);

  useEffect(() => plot.current!.showOwnRange(ownRange), [ownRange, hover, metric]);

  useEffect(() => {
    const observer = new ResizeObserver(() => plot.current!.resize());
    observer.observe(host.current!);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    const follow = (): void => plot.current!.highlight(hover.get().id ?? picked);
    follow();
    return hover.subscribe(follow);
  }, [hover, metric, picked]);

  return <div className={styles["plot"]} ref={host} role="img" aria-label={label} />;
}
