import { createContext, useContext, useSyncExternalStore } from "react";

/** What the pointer is at, in whichever chart or list. */
export interface Hovered {
  /** The line; null when it is near none. */
  id: string | null;
  /** The place on the shared x axis; null outside of charts. */
  x: number | null;
  /** The metric of the chart that the pointer is in; null outside of charts. */
  chart: string | null;
}

const NOTHING: Hovered = { id: null, x: null, chart: null };

/** One hover for a page, outside of React's state: only what shows it is drawn anew when the pointer moves. */
export class Hover {
  private current = NOTHING;
  private readonly listeners = new Set<() => void>();

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** The pointer is at none of these. */
  readonly clear = (): void => this.set(NOTHING);

  readonly get = (): Hovered => this.current;

  set(now: Hovered): void {
    const before = this.current;
    if (now.id !== before.id || now.x !== before.x || now.chart !== before.chart) {
      this.current = now;
      for (const listener of this.listeners) {
        listener();
      }
    }
  }
}

export const HoverContext = createContext(new Hover());

/** What is hovered now. */
export function useHovered(): Hovered {
  const hover = useContext(HoverContext);
  return useSyncExternalStore(hover.subscribe, hover.get);
}

/** The hovered line alone, for what does not care where on it the pointer is. */
export function useHoveredId(): string | null {
  const hover = useContext(HoverContext);
  return useSyncExternalStore(hover.subscribe, () => hover.get().id);
}
