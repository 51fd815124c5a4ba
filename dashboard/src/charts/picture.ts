import type { Line } from "./drawing";
import { lineStyle, type Palette, SLOTS } from "./palette";

const FONT = "system-ui, sans-serif";
const MARGIN = 12; // CSS pixels, as all below
const TITLE = 28;
const ROW = 18;
const SAMPLE = 24;

/** The plot with its title above and the names of the coloured lines below, as a PNG. */
export async function pictureOf(plot: HTMLCanvasElement, title: string, lines: readonly Line[], palette: Palette): Promise<Blob> {
  const ratio = devicePixelRatio;
  const named = lines.filter((line) => line.slot !== null).slice(0, SLOTS);
  const width = plot.width / ratio + 2 * MARGIN;
  const perRow = Math.max(1, Math.floor((width - 2 * MARGIN) / 220));
  const height = TITLE + plot.height / ratio + Math.ceil(named.length / perRow) * ROW + 2 * MARGIN;
  const canvas = new OffscreenCanvas(Math.round(width * ratio), Math.round(height * ratio));
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  context.fillStyle = palette.background;
  context.fillRect(0, 0, width, height);
  context.fillStyle = palette.text;
  context.font = `600 14px ${FONT}`;
  context.textBaseline = "middle";
  context.fillText(title, MARGIN, MARGIN + TITLE / 2 - 4, width - 2 * MARGIN);
  context.drawImage(plot, MARGIN, MARGIN + TITLE, plot.width / ratio, plot.height / ratio);
  context.font = `12px ${FONT}`;
  named.forEach(({ name, slot }, i) => {
    const { colour, dash } = lineStyle(slot, palette);
    const x = MARGIN + (i % perRow) * 220;
    const y = MARGIN + TITLE + plot.height / ratio + (Math.floor(i / perRow) + 0.5) * ROW;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.setLineDash([...dash]);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + SAMPLE, y);
    context.stroke();
    context.fillText(name, x + SAMPLE + 6, y, 220 - SAMPLE - 16);
  });
  return canvas.convertToBlob({ type: "image/png" });
}

/** Hand a file to the person at the browser. */
export function saveFile(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-");
  link.click();
  URL.revokeObjectURL(link.href);
}
