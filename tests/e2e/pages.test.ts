import type { Page } from 'playwright-core';
import { faults } from './browser.ts';
import { shell, useSession } from './session.ts';

const session = useSession();
const NAME = 'accessible';
const PATHS = [
  ...[
    '/',
    '/tasks',
    '/register',
    '/executions',
    '/logs',
    '/groups',
    '/calendars',
    '/cluster',
    '/nowhere',
    '/tasks?prefix=none',
  ],
  ...['', '/edit', '?tab=ledger', '?tab=changes'].map((rest) => `/tasks/${NAME}${rest}`),
  ...['/tasks/accessible-waiting', '/executions/WAITING', '/tasks?needs=failing'],
  ...['/executions/ID', '/logs?q=red', '/logs?kind=task_change'],
];
const LOOKS = [
  ['light', 1280],
  ['dark', 1280],
  ['dark', 390],
  ['light', 390],
] as const;
let id = '';
let waiting = '';

beforeAll(async () => {
  const s = session();
  const action = shell(String.raw`printf '\033[31mred\033[0m\n'; exit 1`);
  await s.task(NAME, { labels: { team: 'e2e' }, action, retry: { maxAttempts: 2, initialBackoff: '0.1s' } });
  await s.call('PATCH', `/v1/tasks/${NAME}`, { priority: 1 });
  await s.call('POST', '/v1/groups', { name: 'accessible-group', maxRunning: 3, maxStarts: 10 });
  await s.call('POST', '/v1/calendars', { name: 'accessible-calendar', exclusions: [{ date: '2030-12-25' }] });
  id = await s.run(NAME);
  await s.task('accessible-waiting', { executorLabels: { place: 'nowhere' } });
  waiting = String((await s.call('POST', '/v1/tasks/accessible-waiting:run')).id);
});

test.each(PATHS)('%s has no serious fault for assistive technology, light or dark, wide or narrow', async (path) => {
  const page = await fresh(path.replace('WAITING', waiting).replace('ID', id));
  expect(await faultsInAllLooks(page)).toEqual([]);
  await page.context().close();
});

/** What opens over a page, and the buttons and menu items that open it. */
const OVERLAYS: [string, string, string[]][] = [
  ['menu', '/tasks?prefix=accessible', [`Actions for ${NAME}`]],
  ['menu', `/tasks/${NAME}`, ['More']],
  ['dialog', `/tasks/${NAME}`, ['More', 'Pause until…']],
  ['dialog', `/tasks/${NAME}`, ['More', 'Backfill…']],
  ['dialog', `/tasks/${NAME}`, ['More', 'Delete']],
  ['dialog', '/groups', ['New group']],
  ['dialog', '/groups', ['Edit accessible-group']],
  ['dialog', '/groups', ['Delete accessible-group']],
  ['dialog', '/calendars', ['New calendar']],
  ['dialog', '/calendars', ['Edit accessible-calendar']],
  ['dialog', '/cluster', ['Make leader']],
];

test.each(OVERLAYS)('a %s over %s, by %j, has no such fault', async (role, path, clicked) => {
  const page = await fresh(path);
  for (const name of clicked) {
    const exact = { name, exact: true };
    await page.getByRole('button', exact).or(page.getByRole('menuitem', exact)).first().click();
  }
  await page.getByRole(role as 'dialog' | 'menu').waitFor();
  expect(await faultsInAllLooks(page)).toEqual([]);
  await page.context().close();
});

test('the form has no such fault when all that is folded is open and some of it is wrong', async () => {
  const page = await fresh(`/tasks/${NAME}/edit`);
  for (const summary of await page.locator('form summary').all()) await summary.click();
  await page.getByLabel('Jitter').fill('soon');
  await page.getByLabel('Time limit').fill('later');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.waitForSelector('[data-field=jitter] [aria-invalid=true]');
  await page.getByRole('link', { name: 'Groups' }).click();
  await page.getByRole('dialog').waitFor();
  expect(await faultsInAllLooks(page)).toEqual([]);
  await page.getByRole('button', { name: 'Go on editing' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(await faultsInAllLooks(page)).toEqual([]);
  await page.context().close();
});

async function fresh(path: string): Promise<Page> {
  const s = session();
  const context = await s.browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  s.watch(page);
  await page.goto(s.base + path);
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.getByRole('status', { name: 'Loading' }).first().waitFor({ state: 'detached' });
  return page;
}

async function faultsInAllLooks(page: Page): Promise<string[]> {
  const found: string[] = [];
  for (const [colorScheme, width] of LOOKS) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme });
    await page.waitForFunction(
      (scheme) => document.documentElement.dataset.mantineColorScheme === scheme,
      colorScheme,
      { polling: 50 },
    );
    // Brought to their end and not awaited: a browser that draws no frame, since nothing it shows moves, never ends them.
    await page.evaluate(() => {
      const ending = document.getAnimations().filter((each) => each.effect?.getComputedTiming().endTime !== Infinity);
      for (const each of ending) each.finish();
    });
    const look = `${colorScheme}, ${String(width)}`;
    found.push(...(await faults(page)).map((fault) => `${look}: ${fault}`));
    const wider = await page.evaluate(
      () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
    );
    if (wider) found.push(`${look}: wider than the window`);
  }
  return found;
}

test('light and dark are chosen by a button, and kept', async () => {
  const s = session();
  await s.open('/tasks');
  await s.button('Dark colours').click();
  await s.page.reload();
  await s.page.waitForFunction(() => document.documentElement.dataset.mantineColorScheme === 'dark');
  await s.button('Light colours').click();
});

test('an error of the server is drawn, and a way to try again', async () => {
  const s = session();
  await s.page.route('**/v1/tasks?*', (route) =>
    route.fulfill({ status: 500, contentType: 'application/problem+json', body: '{"detail": "it broke"}' }),
  );
  await s.open('/tasks');
  await s.seen('it broke');
  await s.page.unroute('**/v1/tasks?*');
  await s.button('Try again').click();
  await s.page.getByRole('search').waitFor();
  await s.text('it broke').waitFor({ state: 'detached' });
});

test('pages poll when no events come', async () => {
  const s = session();
  await s.page.route('**/v1/executions:watch*', (route) => route.abort());
  await s.task('polled');
  await s.open('/tasks/polled');
  await s.seen('Polling');
  await s.run('polled');
  await s.page.getByRole('table', { name: 'Executions' }).getByText('Succeeded').waitFor();
  await s.page.unroute('**/v1/executions:watch*');
});
