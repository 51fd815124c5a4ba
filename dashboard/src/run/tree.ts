/* Files as a tree of folders. */
export interface Folder<T> {
  name: string;
  /** The whole path, without a slash at its end; empty for the root. */
  path: string;
  folders: Folder<T>[];
  files: T[];
}

/** Folders and files in the order of their first appearance, which is by path. */
export function treeOf<T extends { path: string }>(files: readonly T[]): Folder<T> {
  const root: Folder<T> = { name: "", path: "", folders: [], files: [] };
  const known = new Map([["", root]]);
  const folderOf = (path: string): Folder<T> => {
    const folder = known.get(path);
    if (folder) {
      return folder;
    }
    const slash = path.lastIndexOf("/");
    const made: Folder<T> = { name: path.slice(slash + 1), path, folders: [], files: [] };
    known.set(path, made);
    folderOf(path.slice(0, Math.max(slash, 0))).folders.push(made);
    return made;
  };
  for (const file of files) {
    folderOf(file.path.slice(0, Math.max(file.path.lastIndexOf("/"), 0))).files.push(file);
  }
  return root;
}
