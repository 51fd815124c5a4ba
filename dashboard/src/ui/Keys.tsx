import { createContext, type ReactNode, use, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Dialog } from "./Dialog";
import styles from "./Keys.module.css";

export interface Shortcut {
  /** Keys as the browser names them, one after the other: "?", "g e", "Escape". */
  keys: string;
  does: string;
  /** null is only listed: something else listens for it where it has the focus. */
  run: (() => void) | null;
}

const KEPT = "runstone.keys";
const CHORD_MS = 1000;

type Registry = Set<readonly Shortcut[]>;
const RegistryContext = createContext<Registry>(new Set());

/** Shortcuts for as long as the component is there. They rest in text fields and dialogs. */
export function useShortcuts(shortcuts: readonly Shortcut[]): void {
  const registry = use(RegistryContext);
  useLayoutEffect(() => {
    // Before it is painted: a key pressed at what has just appeared would meet the shortcuts of what was there before.
    registry.add(shortcuts);
    return () => void registry.delete(shortcuts);
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], dialog[open], [popover]:popover-open") !== null;
}

/** Listens for the shortcuts of everything below it, and lists them on `?`. */
export function KeysProvider({ children }: { children: ReactNode }) {
  const registry = useMemo<Registry>(() => new Set(), []);
  const [isListed, setListed] = useState(false);
  const [isOn, setOn] = useState(() => localStorage.getItem(KEPT) !== "off");
  const before = useRef<{ key: string; at: number } | null>(null);

  useEffect(() => {
    function pressed(event: KeyboardEvent): void {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) {
        return;
      }
      if (event.key === "?") {
        setListed(true);
        return;
      }
      if (!isOn && event.key.length === 1) {
        return;
      }
      const chord = before.current && event.timeStamp - before.current.at < CHORD_MS ? `${before.current.key} ${event.key}` : null;
      const all = [...registry].flat().filter(({ run }) => run !== null);
      const shortcut = all.find(({ keys }) => keys === chord) ?? all.find(({ keys }) => keys === event.key);
      before.current = shortcut ? null : { key: event.key, at: event.timeStamp };
      if (shortcut) {
        event.preventDefault();
        shortcut.run?.();
      }
    }
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [registry, isOn]);

  function turn(on: boolean): void {
    setOn(on);
    localStorage.setItem(KEPT, on ? "on" : "off");
  }

  return (
    <RegistryContext value={registry}>
      <ShowKeysContext value={() => setListed(true)}>{children}</ShowKeysContext>
      {isListed && (
        <Dialog title="Keyboard" onClose={() => setListed(false)}>
          <dl className={styles.keys}>
            {[...registry].flat().map(({ keys, does }) => (
              <div key={keys}>
                <dt>
                  {keys.split(" ").map((key) => (
                    <kbd key={key}>{NAMES[key] ?? key}</kbd>
                  ))}
                </dt>
                <dd>{does}</dd>
              </div>
            ))}
            <div>
              <dt>
                <kbd>?</kbd>
              </dt>
              <dd>this list</dd>
            </div>
          </dl>
          <label className={styles.choice}>
            <input type="checkbox" checked={isOn} onChange={(event) => turn(event.target.checked)} /> Shortcuts of a single letter
          </label>
        </Dialog>
      )}
    </RegistryContext>
  );
}

const NAMES: Record<string, string> = { " ": "Space", Escape: "Esc", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→" };

const ShowKeysContext = createContext<() => void>(() => undefined);
export const useShowKeys = () => use(ShowKeysContext);
