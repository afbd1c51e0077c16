import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** `npm run dev` shows the pages of this folder with the data of a running node. */
const node = process.env.RAFTSCHED_HTTP ?? 'http://127.0.0.1:8101';

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: '../raftsched/ui_dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
  },
  server: { proxy: { '/v1': node, '/openapi.json': node } },
  test: { include: ['src/**/*.test.ts'], environment: 'node', env: { TZ: 'UTC' } },
});
