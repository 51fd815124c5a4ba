import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
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
