/* Selected runs: ids in the order in which they were selected, which is also the order of their colours. */
import { SELECTED_MAX } from "./url";

type Ids = readonly string[];

/** With the id added at the end, or taken out. */
export function toggled(selected: Ids, id: string): Ids {
  return selected.includes(id) ? selected.filter((other) => other !== id) : extended(selected, [id]);
}

/** With all of these at the end that were not in it, as far as there is room. */
export function extended(selected: Ids, ids: Ids): Ids {
  return [...new Set([...selected, ...ids])].slice(0, SELECTED_MAX);
}

export function without(selected: Ids, ids: Ids): Ids {
  const gone = new Set(ids);
  return selected.filter((id) => !gone.has(id));
}

/** The place of each selected run, from 0. */
export function slots(selected: Ids): ReadonlyMap<string, number> {
  return new Map(selected.map((id, place) => [id, place]));
}
