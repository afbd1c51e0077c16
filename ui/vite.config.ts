import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { PATHS } from './src/routes.ts';

/** `npm run dev` shows the pages of this folder with the data of a running node. */
const node = process.env.RAFTSCHED_HTTP ?? 'http://127.0.0.1:8101';

/** Lists the pages for the node that serves them. */
const listPages: Plugin = {
  name: 'list-pages',
  generateBundle() {
    this.emitFile({ type: 'asset', fileName: 'routes.json', source: JSON.stringify(PATHS) });
  },
};

export default defineConfig({
  plugins: [react(), listPages],
  build: {
    outDir: '../raftsched/ui_dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
  },
  server: { proxy: { '/v1': node, '/openapi.json': node } },
  test: { include: ['src/**/*.test.ts'], environment: 'node', env: { TZ: 'UTC' } },
});
