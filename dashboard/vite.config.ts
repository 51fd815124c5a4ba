import type { OutputChunk } from "rolldown";
import { defineConfig, type HtmlTagDescriptor, type Plugin } from "vite";

/**
 * What the table loads, in few files, for each takes a while of its own. A module goes where it is found first, with all
 * that it imports. What GraphiQL needs too stands apart, so that it loads nothing of the dashboard.
 */
const CHUNKS = [
  { name: "opening", test: /\/src\/api\/(fragment|token)\.ts$|preload-helper/, priority: 4 },
  { name: "begin", test: /\/src\/begin\.ts$/, priority: 3 },
  { name: "shared", test: /\/node_modules\/(react-dom\/client\.js|graphql-ws\/)|\/src\/ui\/(TokenBox\.tsx|tokens\.css|mark\.svg)$/, priority: 2 },
  { name: "main", test: /\/src\/main\.tsx$/, priority: 1 },
];

/** The code of a page is imported by its small beginning; the document names it too, so that both come at once. */
const namedMain: Plugin = {
  name: "named-main",
  transformIndexHtml: {
    order: "post",
    handler(_html, { bundle = {}, path }) {
      const chunks = new Map(Object.values(bundle).flatMap((file) => (file.type === "chunk" ? [[file.name, file] as const] : [])));
      const [begin, main] = [chunks.get("begin"), chunks.get("main")];
      if (begin === undefined || main === undefined || path !== "/index.html") {
        return [];
      }
      const byFile = new Map([...chunks.values()].map((chunk) => [chunk.fileName, chunk]));
      const first = withImports(begin, byFile);
      const files = withImports(main, byFile).filter((file) => !first.includes(file));
      const styles = new Set(files.flatMap(({ viteMetadata }) => [...(viteMetadata?.importedCss ?? [])]));
      const link = (attrs: Record<string, string>, name: string): HtmlTagDescriptor => ({ tag: "link", attrs: { ...attrs, crossorigin: true, href: `/${name}` }, injectTo: "head" });
      return [
        // Not `modulepreload`: the beginning would wait until all of these are compiled.
        ...files.map(({ fileName }) => link({ rel: "preload", as: "script" }, fileName)),
        ...[...styles].map((name) => link({ rel: "stylesheet" }, name)),
      ];
    },
  },
};

function withImports(first: OutputChunk, chunks: ReadonlyMap<string, OutputChunk>): OutputChunk[] {
  const found = new Set([first]);
  for (const { imports } of found) {
    imports.forEach((name) => found.add(chunks.get(name)!));
  }
  return [...found];
}

export default defineConfig({
  base: "/",
  plugins: [namedMain],
  // Pages are served at their own addresses (/graphiql), everything else from /assets/ under a hashed name.
  publicDir: false,
  build: {
    assetsDir: "assets",
    assetsInlineLimit: 0, // no data: addresses beyond those inside the editor's own style sheet
    chunkSizeWarningLimit: 4096, // the editor is one large lazy part
    reportCompressedSize: false,
    manifest: true, // for scripts/sizes.mjs
    modulePreload: { polyfill: false }, // every browser that runs this knows it
    rolldownOptions: {
      input: ["index.html", "graphiql.html"],
      output: { codeSplitting: { groups: CHUNKS } },
      onLog(level, log, report) {
        // "use client" in libraries is for servers that render; it says nothing here.
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") {
          report(level, log);
        }
      },
    },
  },
  worker: { format: "es" },
});
