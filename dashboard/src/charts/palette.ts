import type { Theme } from "../state/url";

/*
 * The colours of lines. Eight hues that stay apart for people who see colours differently, times three dashes; a run
 * takes the place that its position in the selection gives it, and from the 25th on it is grey.
 */
const LIGHT = ["#1795fa", "#c8800d", "#1c04a6", "#c13425", "#885b93", "#5443db", "#7c140a", "#4a0358"] as const;
const DARK = ["#48b7bd", "#eb881f", "#c167fb", "#e0e111", "#8038d1", "#41f9c7", "#be2517", "#0a819d"] as const;
const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 3]];

export const SLOTS = LIGHT.length * DASHES.length;

export interface LineStyle {
  colour: string;
  /** Lengths of strokes and gaps in CSS pixels; empty for a solid line. */
  dash: readonly number[];
}

/** The colours of a chart for a light or a dark page. */
export interface Palette {
  isDark: boolean;
  /** Of lines without a slot. */
  grey: string;
  text: string;
  muted: string;
  grid: string;
  background: string;
}

const LIGHT_PALETTE: Palette = {
  isDark: false,
  grey: "#8c96a1",
  text: "#1b1f24",
  muted: "#59636e",
  grid: "#e8ecf0",
  background: "#ffffff",
};

const DARK_PALETTE: Palette = {
  isDark: true,
  grey: "#6b7683",
  text: "#e6edf3",
  muted: "#9aa5b1",
  grid: "#212830",
  background: "#0f1318",
};

export function paletteOf(theme: Theme): Palette {
  return theme === "dark" ? DARK_PALETTE : LIGHT_PALETTE;
}

/** How the line in this slot looks; null is a line without one. */
export function lineStyle(slot: number | null, palette: Palette): LineStyle {
  if (slot === null || slot >= SLOTS) {
    return { colour: palette.grey, dash: [] };
  }
  const hues = palette.isDark ? DARK : LIGHT;
  return { colour: hues[slot % hues.length]!, dash: DASHES[Math.floor(slot / hues.length)]! };
}
