import { useEffect, useMemo, useRef } from "react";
import { Pace } from "./pace";

/** A function that asks for the work in its pace; it stays the same and always does the newest work. */
export function usePace(work: () => Promise<void>): () => void {
  const newest = useRef(work);
  useEffect(() => {
    newest.current = work;
  });
  const pace = useMemo(() => new Pace(() => newest.current()), []);
  useEffect(() => () => pace.end(), [pace]);
  return useMemo(() => () => pace.ask(), [pace]);
}
