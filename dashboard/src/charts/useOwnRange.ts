import { useContext, useEffect, useState, useSyncExternalStore } from "react";
import { useClient } from "urql";
import type { OwnRange } from "./drawing";
import { HoverContext } from "./hover";
import { type FramesOf, readFrames } from "./useFrames";

const DWELL_MS = 150; // on a line before its range is asked for

/**
 * The range of the run that stands out in the chart of a metric, where the frames that are drawn have no ranges: asked
 * for when the pointer stays on a line. `of` null asks for nothing.
 */
export function useOwnRange(of: FramesOf | null, metric: string, picked: string | null): OwnRange | null {
  const client = useClient();
  const hover = useContext(HoverContext);
  const id = useSyncExternalStore(hover.subscribe, () => {
    const { id, chart } = hover.get();
    return chart === null || chart === metric ? (id ?? picked) : picked;
  });
  const [range, setRange] = useState<OwnRange | null>(null);

  useEffect(() => {
    setRange(null);
    if (of === null || id === null) {
      return;
    }
    let isOver = false;
    async function load(run: string, asked: FramesOf): Promise<void> {
      const { frames } = await readFrames(client, { ...asked, select: { runIds: [run] }, maxSeries: 1, withRange: true }, [metric]);
      const [frame] = frames;
      const [series] = frame?.series ?? [];
      if (!isOver && frame && series?.min && series.max) {
        setRange({ id: run, xs: frame.xs, low: series.min, high: series.max });
      }
    }
    const timer = setTimeout(() => void load(id, of), DWELL_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [client, of, metric, id]);

  return range;
}
