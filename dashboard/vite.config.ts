import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The same source gives the same bytes: what is built is committed (dist), so that cargo needs neither Node nor a network, and the gate
// builds it again and compares.
export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "dist",
    emptyOutDir: true,
    // no file becomes a data: URL in a style or script: the page's Content-Security-Policy allows none
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
    rollupOptions: { output: { entryFileNames: "assets/[name]-[hash].js", chunkFileNames: "assets/[name]-[hash].js", assetFileNames: "assets/[name]-[hash][extname]" } },
  },
  // `npm run dev` beside a `cargo run`
  server: { proxy: Object.fromEntries(["/v1", "/login", "/logout", "/health"].map((path) => [path, "http://127.0.0.1:8000"])) },
});
