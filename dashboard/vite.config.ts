import type { OutputChunk } from "rolldown";
import { defineConfig, type HtmlTagDescriptor, type Plugin } from "vite";

const MAIN = "src/main.tsx";

/** The code of a page is imported by its small beginning; the document names it too, so that both come at once. */
const namedMain: Plugin = {
  name: "named-main",
  transformIndexHtml: {
    order: "post",
    handler(_html, { bundle = {}, chunk }) {
      const chunks = new Map(Object.values(bundle).flatMap((file) => (file.type === "chunk" ? [[file.fileName, file] as const] : [])));
      const main = [...chunks.values()].find(({ facadeModuleId }) => facadeModuleId?.endsWith(MAIN));
      if (main === undefined || !chunk?.dynamicImports.includes(main.fileName)) {
        return [];
      }
      const begin = withImports(chunk, chunks);
      const files = withImports(main, chunks).filter((file) => !begin.includes(file));
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
    rolldownOptions: {
      input: ["index.html", "graphiql.html"],
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
