import type { Column, View } from "../state/url";
import { formatColumn } from "../state/url";
import type { Update } from "../state/view";
import { Chips } from "./Chips";
import styles from "./controls.module.css";
import type { Keys } from "./useKeys";
import { rangeText } from "./xaxis";

const SMOOTH_MAX = 0.99;

interface Props {
  view: View;
  update: Update;
  keys: Keys | null;
}

/** What all charts of the page have in common: which metrics, over what, how drawn. */
export function Controls({ view, update, keys }: Props) {
  const metrics = keys?.metrics ?? [];
  const columns = columnsOf(keys);
  return (
    <div className={styles["controls"]} role="group" aria-label="How the charts are drawn">
      <Chips
        label="Metrics"
        placeholder="all, or train/*"
        chosen={view.m}
        suggestions={[...foldersOf(metrics), ...metrics]}
        isClosed={false}
        onChange={(m) => update({ m })}
      />
      <label>
        x
        <select value={view.x} onChange={({ target }) => update({ x: target.value as View["x"], xr: null })}>
          <option value="step">step</option>
          <option value="rel">time since start</option>
          <option value="wall">date</option>
          {view.x.startsWith("metric:") && !metrics.includes(view.x.slice(7)) && <option>{view.x}</option>}
          {metrics.map((key) => (
            <option key={key} value={`metric:${key}`}>
              {key}
            </option>
          ))}
        </select>
      </label>
      <label>
        <input type="checkbox" checked={view.xlog} onChange={({ target }) => update({ xlog: target.checked })} /> log x
      </label>
      <label>
        <input type="checkbox" checked={view.ylog} onChange={({ target }) => update({ ylog: target.checked })} /> log y
      </label>
      <label>
        smooth
        <input
          type="range"
          min="0"
          max={SMOOTH_MAX}
          step="0.01"
          value={view.smooth}
          onChange={({ target }) => update({ smooth: Number(target.value) }, { replace: true })}
        />
        <output>{view.smooth === 0 ? "off" : view.smooth}</output>
      </label>
      <label>
        band
        <select value={view.band} onChange={({ target }) => update({ band: target.value as View["band"] })}>
          <option value="none">none</option>
          <option value="minmax">min … max</option>
          <option value="std" disabled={view.group.length === 0}>
            ± std of groups
          </option>
        </select>
      </label>
      <label>
        draw
        <select value={view.mode} onChange={({ target }) => update({ mode: target.value as View["mode"] })}>
          <option value="auto">auto</option>
          <option value="lines">lines</option>
          <option value="density">density</option>
        </select>
      </label>
      <Chips
        label="Group"
        placeholder="none"
        chosen={view.group.map(formatColumn)}
        suggestions={[...columns.keys()]}
        isClosed
        onChange={(chosen) => update({ group: chosen.map((text) => columns.get(text) ?? view.group.find((one) => formatColumn(one) === text)!) })}
      />
      {view.xr && (
        <button type="button" onClick={() => update({ xr: null })} title="Show the whole again (0, or double click a chart)">
          {rangeText(view.x, view.xr)} ×
        </button>
      )}
    </div>
  );
}

/** "train/*" for each folder of keys. */
function foldersOf(keys: readonly string[]): string[] {
  const folders = keys.filter((key) => key.includes("/")).map((key) => `${key.slice(0, key.indexOf("/"))}/*`);
  return [...new Set(folders)];
}

/** What runs can be grouped by, by how the address names it. */
function columnsOf(keys: Keys | null): Map<string, Column> {
  const columns = [
    ...(keys?.params ?? []).map((key): Column => ({ area: "PARAM", key, stat: "LAST" })),
    ...(keys?.tags ?? []).map((key): Column => ({ area: "TAG", key, stat: "LAST" })),
  ];
  return new Map(columns.map((column) => [formatColumn(column), column]));
}
