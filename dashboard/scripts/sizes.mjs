/* Fails when a page asks for more JavaScript than its budget: `node scripts/sizes.mjs DIST`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const DIST = process.argv[2];
const KIB = 1024;
/** What must arrive before a page shows something, by the names of chunks, in bytes of gzip -9. */
const BUDGETS = [
  { what: "the runs table", entries: ["begin", "main"], limit: 130 * KIB },
  { what: "the charts, beyond that", entries: ["Charts"], without: ["begin", "main"], limit: 45 * KIB },
];

const manifest = JSON.parse(readFileSync(join(DIST, ".vite", "manifest.json"), "utf8"));

/** The files of an entry and of all that it imports at once. */
function files(entry, seen = new Set()) {
  const { file, imports = [] } = manifest[entry];
  if (!seen.has(file)) {
    seen.add(file);
    imports.forEach((name) => files(name, seen));
  }
  return seen;
}

const named = (chunk) => Object.keys(manifest).find((key) => manifest[key].name === chunk);
const all = (chunks) => new Set(chunks.flatMap((chunk) => [...files(named(chunk))]));
const size = (file) => gzipSync(readFileSync(join(DIST, file)), { level: 9 }).length;

let failed = false;
for (const { what, entries, without = [], limit } of BUDGETS) {
  const known = all(without);
  const loaded = [...all(entries)].filter((file) => !known.has(file));
  const total = loaded.filter((file) => file.endsWith(".js")).map(size).reduce((sum, bytes) => sum + bytes, 0);
  console.log(`${what}: ${(total / KIB).toFixed(1)} of ${limit / KIB} KiB`);
  failed ||= total > limit;
}
process.exitCode = failed ? 1 : 0;
