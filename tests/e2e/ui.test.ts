import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launch, faults } from './browser.ts';
import { Cluster } from './cluster.ts';

const SLOW_MS = 45_000;
let cluster: Cluster;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let base: string;
const troubles: string[] = [];

beforeAll(async () => {
  cluster = await Cluster.start();
  browser = await launch();
  base = cluster.url(await cluster.follower());
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, timezoneId: 'America/New_York' });
  page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith('data:')) troubles.push(`asked ${request.url()}`);
  });
});

afterAll(async () => {
  await browser?.close();
  await cluster?.stop();
});

afterEach(() => {
  expect(troubles).toEqual([]);
});

const text = (words: string | RegExp) => page.getByText(words).first();
const button = (name: string) => page.getByRole('button', { name, exact: true });
const seen = (words: string | RegExp, timeout = SLOW_MS) => text(words).waitFor({ state: 'visible', timeout });

test('an empty cluster says what to do first', async () => {
  await page.goto(base);
  await seen('Nothing has run yet');
  await page.getByRole('link', { name: 'Register a task' }).first().click();
  await page.getByRole('heading', { name: 'New task' }).waitFor();
});

test('the cron editor says the expression in words and shows the next ten fires of the server', async () => {
  await page.goto(`${base}/register`);
  await page.getByLabel('Cron expression').fill('30 2 * * 1-5');
  await seen('At 02:30, Monday through Friday');
  const rows = page.getByRole('table', { name: 'Next fires' }).getByRole('row');
  await rows.nth(10).waitFor();
  expect(await rows.count()).toBe(11);
  expect(await rows.nth(1).innerText()).toContain('02:30:00');
  await page.getByLabel('Cron expression').fill('99 * * * *');
  await page
    .getByRole('status')
    .filter({ hasText: /minute/ })
    .waitFor();
});

test('what the server refuses stands beside its field', async () => {
  await page.goto(`${base}/register`);
  await page.getByLabel('Name').fill('not a name');
  await page.getByLabel('Command line').fill('true');
  await button('Register').click();
  await seen(/is not a task name/);
  expect(await page.getByLabel('Name').getAttribute('aria-invalid')).toBe('true');
});

test('a recurring task is registered and its output is watched while it runs', async () => {
  await page.goto(`${base}/register`);
  await page.getByLabel('Name').fill('count.slowly');
  await text('Interval').click();
  await page.getByLabel('Every').fill('1h');
  await text('Shell').click();
  await page
    .getByLabel('Script')
    .fill(String.raw`for i in 1 2 3 4 5; do printf '\033[32mline %d\033[0m\n' $i; sleep 1; done; echo finished`);
  await button('Add label').click();
  await page.getByLabel('Label key 1').fill('team');
  await page.getByLabel('Label value 1').fill('e2e');
  await button('Register').click();
  await page.getByRole('heading', { name: 'count.slowly' }).waitFor();
  await button('Run now').click();
  await page.getByRole('table', { name: 'Executions' }).getByRole('link').first().click();
  const output = page.getByRole('log', { name: 'Output' });
  await output.getByText('line 1').waitFor({ timeout: SLOW_MS });
  expect(await output.getByText('line 1').evaluate((span) => getComputedStyle(span).color)).toBe('rgb(107, 196, 109)');
  expect(await output.innerText()).not.toContain('finished');
  await output.getByText('finished').waitFor({ timeout: SLOW_MS });
  await seen('Succeeded');
  await seen('Start to end');
});

test('a one-time task is registered and runs at its time', async () => {
  await page.goto(`${base}/register`);
  await page.getByLabel('Name').fill('just-once');
  await text('Once').click();
  const soon = new Date(Date.now() + 6000);
  const local = soon.toLocaleString('sv-SE', { timeZone: 'America/New_York' }).replace(' ', 'T');
  await page.getByRole('textbox', { name: 'At', exact: true }).fill(local);
  await page.getByLabel('Command line').fill('echo "hello world"');
  await button('Register').click();
  await page.getByRole('heading', { name: 'just-once' }).waitFor();
  await page.getByRole('table', { name: 'Executions' }).getByText('Succeeded').waitFor({ timeout: SLOW_MS });
  await seen('Finished');
});

test('a task is edited, and a change by somebody else in between is not overwritten', async () => {
  await page.goto(`${base}/tasks/count.slowly/edit`);
  await page.getByLabel('Time limit').fill('90s');
  await button('Save').click();
  await page.getByRole('heading', { name: 'count.slowly' }).waitFor();
  await seen('1 min 30 s');
  await page.goto(`${base}/tasks/count.slowly/edit`);
  await page.getByLabel('Time limit').fill('2m');
  const other = await fetch(`${base}/v1/tasks/count.slowly?updateMask=labels`, {
    method: 'PATCH',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'count.slowly', labels: { team: 'other' } }),
  });
  expect(other.status).toBe(200);
  await button('Save').click();
  await seen('The task was refused');
  await button('Load what it is now (your changes are dropped)').click();
  await page.waitForFunction(
    () => document.querySelector<HTMLInputElement>('input[value="90s"], input')?.value !== '2m',
  );
  expect(await page.getByLabel('Label value 1').inputValue()).toBe('other');
});

test('a running execution is cancelled', async () => {
  await page.goto(`${base}/tasks/count.slowly`);
  await button('Run now').click();
  await page
    .getByRole('table', { name: 'Executions' })
    .getByText(/Running|Assigned/)
    .first()
    .waitFor();
  await page.getByRole('table', { name: 'Executions' }).getByRole('link').first().click();
  await button('Cancel').click();
  await seen('Cancelled');
});

test('tasks are listed, filtered through the address, paused and resumed in bulk', async () => {
  await page.goto(`${base}/tasks`);
  await page.getByLabel('Name begins with').fill('count');
  await page.waitForURL(/prefix=count/);
  await page.getByRole('link', { name: 'just-once' }).waitFor({ state: 'detached' });
  await page.reload();
  expect(await page.getByLabel('Name begins with').inputValue()).toBe('count');
  await page.getByLabel('Choose count.slowly').check();
  await page.getByRole('group', { name: 'Chosen tasks' }).getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('table', { name: 'Tasks' }).getByText('Paused').locator('visible=true').first().waitFor();
  await page.goto(`${base}/tasks?state=paused`);
  await page.getByLabel('Choose count.slowly').check();
  await page.getByRole('group', { name: 'Chosen tasks' }).getByRole('button', { name: 'Resume' }).click();
  await seen('No task matches');
});

test('executions are listed with their times, by state', async () => {
  await page.goto(`${base}/executions?state=cancelled`);
  const table = page.getByRole('table', { name: 'Executions' });
  await table.getByRole('link', { name: 'count.slowly' }).first().waitFor();
  expect(await table.getByText('Succeeded').count()).toBe(0);
  expect(await table.getByRole('row').nth(1).innerText()).toMatch(/\d\d:\d\d:\d\d/);
});

test('the ledger tells what was decided', async () => {
  await page.goto(`${base}/tasks/just-once?tab=ledger`);
  await page.getByRole('table', { name: 'Ledger' }).getByText('Ran').waitFor();
});

test('a task is duplicated with changes', async () => {
  await page.goto(`${base}/tasks/count.slowly`);
  await page.getByRole('link', { name: 'Duplicate' }).click();
  await page.getByLabel('Name').fill('count-again');
  await button('Register').click();
  await page.getByRole('heading', { name: 'count-again' }).waitFor();
});

test('no page has a serious fault for assistive technology, light or dark, wide or narrow', async () => {
  const { executions } = (await (await fetch(`${base}/v1/executions?pageSize=1`)).json()) as {
    executions: { id: string }[];
  };
  const paths = [
    ...['/', '/tasks', '/register', '/tasks/count.slowly', '/tasks/count.slowly/edit', '/executions', '/cluster'],
    ...[`/executions/${executions[0]?.id ?? ''}`, '/tasks/just-once?tab=ledger', '/nowhere'],
  ];
  const found: string[] = [];
  for (const [colorScheme, width] of [['light', 1280] as const, ['dark', 390] as const]) {
    const other = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
    for (const path of paths) {
      const shown = await other.newPage();
      await shown.goto(base + path);
      await shown.getByRole('heading', { level: 1 }).waitFor();
      await shown.getByRole('status', { name: 'Loading' }).first().waitFor({ state: 'detached' });
      found.push(...(await faults(shown)).map((fault) => `${path} ${colorScheme} ${String(width)}: ${fault}`));
      const wider = await shown.evaluate(
        () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
      );
      if (wider) found.push(`${path} is wider than ${String(width)} pixels`);
      await shown.close();
    }
    await other.close();
  }
  expect(found).toEqual([]);
});

test('the keyboard alone reaches the content, a task and its actions', async () => {
  await page.goto(`${base}/tasks`);
  await page.getByRole('link', { name: 'just-once' }).waitFor();
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the content');
  await page.getByRole('link', { name: 'just-once' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'just-once' }).waitFor();
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
});

test('the leadership is handed over from the cluster page', async () => {
  await page.goto(`${base}/cluster`);
  const before = await cluster.leader();
  await button('Make leader').first().click();
  await button('Hand over').click();
  await seen(/^n\d leads$/);
  expect(await cluster.leader()).not.toBe(before);
});

test('the page goes on when the leader is killed during use', async () => {
  const leader = await cluster.leader();
  base = cluster.url(await cluster.follower());
  await page.goto(`${base}/cluster`);
  await page.locator(`[data-node="${leader}"]`).getByText('Leader').waitFor();
  await page.goto(`${base}/register`);
  await page.getByLabel('Name').fill('after-the-leader');
  await page.getByLabel('Command line').fill('echo still here');
  await cluster.kill(leader);
  await button('Register').click();
  await page.getByRole('heading', { name: 'after-the-leader' }).waitFor({ timeout: SLOW_MS });
  await button('Run now').click();
  await page.getByRole('table', { name: 'Executions' }).getByText('Succeeded').waitFor({ timeout: SLOW_MS });
  await page.getByRole('link', { name: 'Cluster' }).click();
  await page.locator(`[data-node="${leader}"]`).getByText('Unreachable').waitFor({ timeout: SLOW_MS });
  cluster.run(leader);
  await page.locator(`[data-node="${leader}"]`).getByText('Follower').waitFor({ timeout: SLOW_MS });
});

test('the page says when its node is gone and goes on when it is back, without a reload', async () => {
  const follower = await cluster.follower();
  base = cluster.url(follower);
  await page.goto(`${base}/tasks/after-the-leader`);
  await page.getByRole('heading', { name: 'after-the-leader' }).waitFor();
  await cluster.kill(follower);
  await seen('Reconnecting');
  await page.getByRole('heading', { name: 'after-the-leader' }).waitFor();
  cluster.run(follower);
  await text('Reconnecting').waitFor({ state: 'detached', timeout: SLOW_MS });
  await seen('Live');
});

test('a task is deleted after a question', async () => {
  await page.goto(`${base}/tasks/after-the-leader`);
  await button('Delete').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.waitForURL(`${base}/tasks`);
  await page.getByRole('link', { name: 'just-once' }).waitFor();
  expect(await page.getByRole('link', { name: 'after-the-leader' }).count()).toBe(0);
});
