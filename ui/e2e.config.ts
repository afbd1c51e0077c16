import { resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

/** The browser tests stand outside of this folder, where their packages are. */
export default defineConfig({
  resolve: {
    alias: { 'playwright-core': resolve(import.meta.dirname, 'node_modules/playwright-core/index.mjs') },
  },
  server: { fs: { strict: false } },
  test: {
    dir: resolve(import.meta.dirname, '../tests/e2e'),
    include: ['**/*.test.ts'],
    globals: true,
    reporters: ['verbose'],
    globalSetup: resolve(import.meta.dirname, '../tests/e2e/start.ts'),
    // Each test makes what it needs, so any order will do; the seed that repeats this one is printed.
    sequence: { shuffle: { files: false, tests: true } },
    testTimeout: 180_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
