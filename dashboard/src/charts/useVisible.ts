import { type RefCallback, useCallback, useEffect, useRef, useState } from "react";

const MARGIN = "300px"; // above and below, so that charts are there when they are scrolled to

/**
 * Which of many elements are in sight of their `data-scroller` or near it. They carry their key as `data-key` and are
 * watched through the returned ref.
 */
export function useVisible(): { visible: ReadonlySet<string>; watch: RefCallback<HTMLElement> } {
  const [visible, setVisible] = useState<ReadonlySet<string>>(new Set());
  const observer = useRef<IntersectionObserver>(null);

  const watch = useCallback<RefCallback<HTMLElement>>((element) => {
    if (element === null) {
      return;
    }
    observer.current ??= new IntersectionObserver(
      (changes) =>
        setVisible((before) => {
          const now = new Set(before);
          for (const { target, isIntersecting } of changes) {
            const key = (target as HTMLElement).dataset["key"]!;
            if (isIntersecting) {
              now.add(key);
            } else {
              now.delete(key);
            }
          }
          return now;
        }),
      { root: element.closest("[data-scroller]"), rootMargin: MARGIN },
    );
    const watching = observer.current;
    watching.observe(element);
    return () => {
      watching.unobserve(element);
      setVisible((before) => new Set([...before].filter((key) => key !== element.dataset["key"])));
    };
  }, []);

  useEffect(() => () => observer.current?.disconnect(), []);
  return { visible, watch };
}
