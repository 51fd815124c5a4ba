import type { RunSelection } from "../api/gql";
import { type Column, isSame, type View } from "../state/url";
import type { Update } from "../state/view";
import { KeyPicker } from "../table/KeyPicker";
import { useKeys } from "../table/useKeys";
import { Popover } from "../ui/Popover";
import { Chips } from "./Chips";
import styles from "./controls.module.css";
import { shortValue } from "./numbers";
import { rangeText } from "./xaxis";

const SMOOTH_MAX = 0.99;

interface Props {
  view: View;
  update: Update;
  select: RunSelection;
  /** Those that the runs have. */
  metrics: readonly string[];
}

/** What all charts of the page have in common: which metrics, over what, how drawn. */
export function Controls({ view, update, select, metrics }: Props) {
  return (
    <div className={styles["controls"]} role="group" aria-label="How the charts are drawn">
      <Chips
        label="Metrics"
        placeholder="all, or train/*"
        chosen={view.m}
        suggestions={[...foldersOf(metrics), ...metrics]}
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
      <Popover label={view.group.length > 0 ? `Group: ${view.group.map(({ key }) => key).join(", ")}` : "Group"}>
        {() => <GroupPicker select={select} view={view} update={update} />}
      </Popover>
      {view.group.length > 0 && (
        <button type="button" className="plain" onClick={() => update({ group: [] })}>
          Ungroup
        </button>
      )}
      {view.xr && (
        <button type="button" onClick={() => update({ xr: null })} title="Show the whole again (0, or double click a chart)">
          {rangeText(view.x, view.xr)} ×
        </button>
      )}
      {view.yr && (
        <button type="button" onClick={() => update({ yr: null, ym: null })} title="Show all values again (0, or double click a chart)">
          {view.ym ?? "y"} {view.yr.map(shortValue).join(" – ")} ×
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

/** What runs can be grouped by, asked for when it is opened. */
function GroupPicker({ select, view, update }: Pick<Props, "select" | "view" | "update">) {
  const { keys } = useKeys(select, true);
  function toggle(column: Column): void {
    update(({ group }) => ({ group: group.some((one) => isSame(one, column)) ? group.filter((one) => !isSame(one, column)) : [...group, column] }));
  }
  return <KeyPicker keys={keys} chosen={view.group} onToggle={toggle} withMetrics={false} />;
}
