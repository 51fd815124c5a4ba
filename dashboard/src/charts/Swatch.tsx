import styles from "./charts.module.css";
import { lineStyle, type Palette } from "./palette";

/** A piece of the line that a run or group is drawn with. */
export function Swatch({ slot, palette }: { slot: number | null; palette: Palette }) {
  const { colour, dash } = lineStyle(slot, palette);
  return (
    <svg className={styles["swatch"]} width="18" height="8" viewBox="0 0 18 8" aria-hidden="true">
      <line x1="0" x2="18" y1="4" y2="4" stroke={colour} strokeWidth="2.5" strokeDasharray={dash.join(" ")} />
    </svg>
  );
}
