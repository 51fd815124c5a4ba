const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** A size for people: "512 bytes", "48.2 KiB". */
export function sizeText(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  return power === 0 ? `${bytes} ${bytes === 1 ? "byte" : "bytes"}` : `${(bytes / 1024 ** power).toFixed(1)} ${UNITS[power]}`;
}
