/* Addresses of the pages of a run. A file's path keeps its slashes; everything else in it is percent-encoded. */
const MARK = "/artifacts/";

export const runHref = (id: string, tab = "") => (tab === "" ? `/r/${id}` : `/r/${id}/${tab}`);

export const fileHref = (id: string, path: string) => `/r/${id}${MARK}${path.split("/").map(encodeURIComponent).join("/")}`;

/** The file that an address is about; null for all files. Of what cannot be decoded it is the text as it stands. */
export function fileIn(pathname: string): string | null {
  const at = pathname.indexOf(MARK);
  const path = at === -1 ? "" : pathname.slice(at + MARK.length);
  try {
    return path === "" ? null : decodeURIComponent(path);
  } catch {
    return path;
  }
}
