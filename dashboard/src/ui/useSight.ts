import { type RefObject, useLayoutEffect, useReducer, useRef } from "react";
import { flushSync } from "react-dom";
import type { Span, View } from "./sight";

/** What of a table is in sight. */
export interface Sight {
  rows: Span;
  columns: Span;
}

const NOTHING: View = { scrollTop: 0, scrollLeft: 0, clientWidth: 0, clientHeight: 0 };

/**
 * What is in sight of a scroller, as `see` finds it, and the view that this was found in. The scroller is asked for its
 * place before anything is changed, for to answer later it would have to lay out what was; and what comes into sight is
 * drawn in the frame that shows it.
 */
export function useSight(scroller: RefObject<HTMLElement | null>, see: (view: View) => Sight): Sight & { view: View } {
  const [, draw] = useReducer((drawn: number) => drawn + 1, 0);
  const view = useRef(NOTHING);
  const sight = see(view.current);
  const drawn = useRef({ see, sight });

  useLayoutEffect(() => {
    drawn.current = { see, sight };
  });

  useLayoutEffect(() => {
    const element = scroller.current!;
    function look(drawNow: () => void): void {
      const { scrollTop, scrollLeft, clientWidth, clientHeight } = element;
      const isAsWide = clientWidth === view.current.clientWidth;
      view.current = { scrollTop, scrollLeft, clientWidth, clientHeight };
      if (!isAsWide || !isSame(drawn.current.see(view.current), drawn.current.sight)) {
        drawNow();
      }
    }
    const resized = (): void => look(draw);
    const scrolled = (): void => look(() => flushSync(draw));
    const observer = new ResizeObserver(resized);
    resized();
    observer.observe(element);
    element.addEventListener("scroll", scrolled, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", scrolled);
    };
  }, [scroller]);

  return { ...sight, view: view.current };
}

const isSame = (one: Sight, other: Sight): boolean =>
  one.rows.from === other.rows.from && one.rows.to === other.rows.to && one.columns.from === other.columns.from && one.columns.to === other.columns.to;
