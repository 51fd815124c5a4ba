import uPlot from "uplot";
import type { Range } from "../state/url";
import { xAxis, type XKind, yAxis } from "./axes";
import styles from "./charts.module.css";
import type { Drawing, Line, OwnRange } from "./drawing";
import { nearestPlace, valueAt } from "./nearest";
import { highlightColour, paintDrawing, paintHighlight, paintOwnRange, type Place } from "./paint";
import type { Palette } from "./palette";

/** What a plot shows. */
export interface View {
  drawing: Drawing;
  xKind: XKind;
  xIsLog: boolean;
  yIsLog: boolean;
  xRange: Range;
  yRange: Range;
  palette: Palette;
}

/** Ranges of the axes; null is the whole, undefined as it is. */
export interface Zoom {
  x?: Range | null;
  y?: Range | null;
}

/** What happens on a plot. */
export interface PlotEvents {
  /** The pointer is at `x`, near the line `id`; null when it is near none. */
  onPoint: (id: string | null, x: number) => void;
  onLeave: () => void;
  /** The line was clicked; null is the ground between lines. */
  onPick: (id: string | null) => void;
  /** Ranges were dragged; of an axis that was not, it is undefined. Both null ask for the whole again. */
  onZoom: (zoom: Zoom) => void;
}

const SYNC_KEY = "charts";
const REACH = 40; // CSS pixels from a line within which the pointer means it
const DRAG_MIN = 4; // CSS pixels; less is a click
const DRAG_BOTH_MIN = 100; // CSS pixels each way from which on a drag is over both axes, not only over the longer

/** uPlot for the axes, the cursor and the drag; what lies inside is painted by us. */
export class Plot {
  private readonly overlay = document.createElement("canvas");
  private readonly dot = document.createElement("div");
  private chart: uPlot | null = null;
  private view: View | null = null;
  private ownRange: OwnRange | null = null;
  private built = "";
  private highlighted: string | null = null;
  private isUnderPointer = false;
  private wasDragged = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly events: PlotEvents,
  ) {
    this.overlay.className = styles["overlay"]!;
    this.dot.className = styles["dot"]!;
  }

  destroy(): void {
    this.chart?.destroy();
  }

  /** Draw this, at the size of the host. */
  show(view: View): void {
    this.view = view;
    const wanted = [view.xKind, view.xIsLog, view.yIsLog, view.palette.isDark].join();
    if (this.chart === null || this.built !== wanted) {
      this.built = wanted;
      this.build(view);
    } else {
      this.chart.setData(dataOf(view));
    }
  }

  /** Take the size of the host. */
  resize(): void {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (this.chart && width > 0 && (width !== this.chart.width || height !== this.chart.height)) {
      this.chart.setSize({ width, height });
    }
  }

  /** Show this range of a line when it stands out. */
  showOwnRange(range: OwnRange | null): void {
    this.ownRange = range;
    this.paintOverlay(this.chart);
  }

  /** Let this line stand out. */
  highlight(id: string | null): void {
    if (id !== this.highlighted) {
      this.highlighted = id;
      this.paintOverlay(this.chart);
      this.placeDot(this.chart);
    }
  }

  private build(view: View): void {
    this.chart?.destroy();
    const { xKind, xIsLog, yIsLog, palette } = view;
    this.chart = new uPlot(
      {
        width: this.host.clientWidth,
        height: this.host.clientHeight,
        ms: 1,
        padding: [8, 12, 0, 0],
        legend: { show: false },
        scales: {
          x: { time: xKind === "wall", distr: xIsLog ? 3 : 1, range: () => [...(this.view ?? view).xRange] },
          y: { distr: yIsLog ? 3 : 1, auto: true, range: () => [...(this.view ?? view).yRange] },
        },
        axes: [xAxis(xKind, xIsLog, palette), yAxis(yIsLog, palette)],
        series: [{}, { show: true, paths: () => null, points: { show: false } }],
        cursor: {
          y: false,
          points: { show: false },
          drag: { x: true, y: true, uni: DRAG_BOTH_MIN, setScale: false },
          sync: { key: SYNC_KEY, scales: ["x", null], setSeries: false, filters: { pub: isOfCursor, sub: isOfCursor } },
          bind: { dblclick: () => () => this.zoomOut() },
        },
        hooks: {
          draw: [(chart) => this.paint(chart)],
          setCursor: [(chart) => this.followPointer(chart)],
          setSelect: [(chart) => this.zoomIn(chart)],
        },
      },
      dataOf(view),
      this.host,
    );
    this.chart.over.append(this.overlay, this.dot);
    this.chart.over.addEventListener("pointerdown", () => {
      this.wasDragged = false;
    });
    this.chart.over.addEventListener("click", ({ detail }) => {
      if (!this.wasDragged && detail === 1) {
        this.events.onPick(this.pointedLine());
      }
    });
    this.chart.over.addEventListener("pointerenter", () => {
      this.isUnderPointer = true;
    });
    this.chart.over.addEventListener("pointerleave", () => {
      this.isUnderPointer = false;
      this.events.onLeave();
    });
  }

  private zoomOut(): null {
    this.events.onPick(null); // what the first of the two clicks picked
    this.events.onZoom({ x: null, y: null });
    return null;
  }

  private zoomIn(chart: uPlot): void {
    const { left, top, width, height } = chart.select;
    const across: Range = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
    const up: Range = [chart.posToVal(top + height, "y"), chart.posToVal(top, "y")];
    const isX = width >= DRAG_MIN && width < chart.over.clientWidth;
    const isY = height >= DRAG_MIN && height < chart.over.clientHeight;
    this.wasDragged = isX || isY;
    if (this.isUnderPointer && this.wasDragged) {
      this.events.onZoom({ ...(isX && { x: across }), ...(isY && { y: up }) });
    }
    if (width > 0) {
      chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    }
  }

  private followPointer(chart: uPlot): void {
    const { left = -1 } = chart.cursor;
    if (this.isUnderPointer && left >= 0) {
      this.events.onPoint(this.pointedLine(), chart.posToVal(left, "x"));
    }
    this.placeDot(chart);
  }

  /** The line that is nearest to the cursor, above or below. */
  private pointedLine(): string | null {
    const chart = this.chart!;
    const { xs, lines } = this.view!.drawing;
    const { left = -1, top = -1 } = chart.cursor;
    const x = chart.posToVal(left, "x");
    let nearest: string | null = null;
    let reach = REACH;
    for (const { id, values } of lines) {
      const distance = Math.abs(chart.valToPos(valueAt(xs, values, x), "y") - top);
      if (distance < reach) {
        nearest = id;
        reach = distance;
      }
    }
    return nearest;
  }

  /** Put the dot on the highlighted line where the cursor is. */
  private placeDot(chart: uPlot | null): void {
    const { view } = this;
    const line = this.highlightedLine();
    const cursor = chart?.cursor.left ?? -1;
    if (!chart || !view || !line || cursor < 0) {
      this.dot.hidden = true;
      return;
    }
    const { drawing, palette } = view;
    const at = nearestPlace(drawing.xs, line.values, chart.posToVal(cursor, "x"));
    this.dot.hidden = at === -1;
    if (at !== -1) {
      const left = chart.valToPos(drawing.xs[at]!, "x");
      this.dot.style.transform = `translate(${left}px, ${chart.valToPos(line.values[at]!, "y")}px)`;
      this.dot.style.backgroundColor = highlightColour(line, palette);
    }
  }

  private highlightedLine(): Line | undefined {
    return this.view?.drawing.lines.find((line) => line.id === this.highlighted);
  }

  private paint(chart: uPlot): void {
    const { drawing, palette } = this.view!;
    paintDrawing(chart.ctx, placeOf(chart, this.view!), drawing, palette);
    // Only now, for uPlot sets its scales after `setData` has returned.
    this.paintOverlay(chart);
    this.placeDot(chart);
  }

  private paintOverlay(chart: uPlot | null): void {
    const { overlay, view } = this;
    if (!chart || !view) {
      return;
    }
    const line = this.highlightedLine();
    // While nothing stands out there is no overlay: the browser would put it on the screen anew with each picture.
    overlay.hidden = line === undefined;
    if (line === undefined) {
      return;
    }
    if (overlay.width !== chart.bbox.width || overlay.height !== chart.bbox.height) {
      overlay.width = chart.bbox.width;
      overlay.height = chart.bbox.height;
    }
    const context = overlay.getContext("2d")!;
    context.clearRect(0, 0, overlay.width, overlay.height);
    const place = placeOf(chart, view);
    if (this.ownRange?.id === line.id) {
      paintOwnRange(context, place, this.ownRange, highlightColour(line, view.palette));
    }
    paintHighlight(context, place, line, view.palette);
  }
}

/** The grid, and one series without values: lines are not uPlot's matter. */
function dataOf({ drawing: { xs } }: View): uPlot.AlignedData {
  return [xs, new Array<null>(xs.length).fill(null)];
}

/** Whether an event is to be felt by the other charts: where the cursor is, but not a drag. */
function isOfCursor(type: string): boolean {
  return type === "mousemove" || type === "mouseleave";
}

function placeOf(chart: uPlot, { drawing, yIsLog }: View): Place {
  const { left, top, width, height } = chart.bbox;
  const toColumn = (x: number): number => chart.valToPos(x, "x", true) - left;
  const { min, max } = chart.scales["y"]!;
  const at = (value: number): number => (yIsLog ? Math.log10(value) : value);
  const scale = -height / (at(max!) - at(min!));
  return {
    left,
    top,
    width,
    height,
    toColumn,
    columns: Float64Array.from(drawing.xs, toColumn),
    toRow: { scale, offset: -scale * at(max!), isLog: yIsLog },
    ratio: uPlot.pxRatio,
  };
}
