/* Which runs a page is about: those of an experiment, or of all of them, that the filter selects. */
import type { RunSelection } from "../api/gql";

/** null is every experiment. */
export const baseOf = (experiment: string | null): RunSelection => (experiment === null ? {} : { experimentIds: [experiment] });

export const selectionOf = (experiment: string | null, where: string): RunSelection =>
  where.trim() === "" ? baseOf(experiment) : { ...baseOf(experiment), where };

/** The address of a tab: "" is the table, "charts", "diff". */
export function pathOf(experiment: string | null, tab: "" | "charts" | "diff"): string {
  const base = experiment === null ? "/compare" : `/e/${experiment}`;
  return tab === "" ? base : `${base}/${tab}`;
}
