// Takes the pictures of docs/images from a running cluster: node scripts/screenshots.mjs [address] [directory]
// TASK names the task to show, WORDS what the logs are searched for. Needs pngquant, which makes the files small.
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';

const base = process.argv[2] ?? 'http://127.0.0.1:8101';
const directory = resolve(process.argv[3] ?? join(import.meta.dirname, '../../docs/images'));
const first = async (path, list) => (await (await fetch(base + path)).json())[list][0];
const wanted = process.env.TASK ?? (await first('/v1/tasks?pageSize=1', 'tasks'))?.name;
const execution = await first(
  `/v1/executions?task=${wanted}&pageSize=1&states=EXECUTION_STATE_SUCCEEDED`,
  'executions',
);
const pages = {
  overview: '/',
  tasks: '/tasks',
  register: '/register',
  form: `/tasks/${wanted}/edit`,
  task: `/tasks/${wanted}`,
  executions: '/executions',
  logs: `/logs?q=${process.env.WORDS ?? 'refused'}`,
  execution: `/executions/${execution?.id}`,
  groups: '/groups',
  calendars: '/calendars',
  cluster: '/cluster',
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
});
for (const [width, height, colorScheme] of [
  [1280, 900, 'light'],
  [390, 844, 'dark'],
]) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, timezoneId: 'Europe/Berlin' });
  for (const [name, path] of Object.entries(pages)) {
    const page = await context.newPage();
    await page.goto(base + path);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.waitForLoadState('load');
    await page.waitForTimeout(1500);
    const picture = join(directory, `${name}-${width}.png`);
    await page.screenshot({ path: picture });
    execFileSync('pngquant', ['--force', '--ext', '.png', '--speed', '1', '64', picture]);
    await page.close();
  }
  await context.close();
}
await browser.close();
