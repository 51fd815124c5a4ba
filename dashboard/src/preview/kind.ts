/* How a file is shown, by its path alone: what a logger says of it is never acted on. */
export type PreviewKind = "text" | "json" | "csv" | "patch" | "image" | "none";

const BY_ENDING: Readonly<Record<string, PreviewKind>> = {
  csv: "csv",
  diff: "patch",
  ipynb: "json",
  jpeg: "image",
  jpg: "image",
  json: "json",
  patch: "patch",
  png: "image",
  tsv: "csv",
};
const TEXTS = new Set(
  "bat c cc cfg cff conf cpp css cu dockerfile env err gitignore go h hpp htm html ini java jl js jsonl license lock log md ndjson out properties proto py pyi r readme requirements rs rst scss sh sql tex toml ts txt xhtml xml yaml yml".split(" "),
);
const NAMED = new Set(["dockerfile", "license", "makefile", "mlmodel", "notice", "readme", "requirements"]);

/** Everything not known to be plain data is for downloading: SVG can carry scripts, a pickle runs code. */
export function previewKind(path: string): PreviewKind {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  const dot = name.lastIndexOf(".");
  if (dot <= 0) {
    return NAMED.has(name) ? "text" : "none";
  }
  const ending = name.slice(dot + 1);
  return BY_ENDING[ending] ?? (TEXTS.has(ending) ? "text" : "none");
}

/** Why a file of no kind is not shown. */
export function reasonForNone(path: string): string {
  return /\.svgz?$/i.test(path)
    ? "SVG pictures can carry scripts and are not shown here."
    : "There is no preview of this kind of file.";
}

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG = [0xff, 0xd8, 0xff];

/** The type of a picture by its first bytes; null for anything that is neither PNG nor JPEG. */
export function pictureType(bytes: Uint8Array): "image/png" | "image/jpeg" | null {
  const begins = (mark: readonly number[]) => mark.every((byte, index) => bytes[index] === byte);
  return begins(PNG) ? "image/png" : begins(JPEG) ? "image/jpeg" : null;
}

const LOOKED_AT = 8192;

/** Whether the bytes are no text: a NUL among the first of them. */
export function isBinary(bytes: Uint8Array): boolean {
  return bytes.subarray(0, LOOKED_AT).includes(0);
}
