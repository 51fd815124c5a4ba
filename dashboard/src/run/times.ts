const MOMENT = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** A moment in the reader's time zone: "2026-05-01 12:04:09"; "—" for none. */
export function momentText(iso: string | null): string {
  return iso === null ? "—" : MOMENT.format(new Date(iso)).replace(",", "");
}
