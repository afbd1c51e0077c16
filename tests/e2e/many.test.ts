import type { Response } from 'playwright-core';
import { Cluster, until } from './cluster.ts';
import { Session, SLOW_MS } from './session.ts';

const TASKS = Number(process.env.E2E_TASKS ?? 100_000);
const BATCH = 1000;
const AT_ONCE = 4;
const PAGE = 50;

let cluster: Cluster;
let s: Session;
/** What the page was answered since the last step: pages of tasks and other answers of the API, with their sizes. */
let answers: { path: string; rows: number; bytes: number }[] = [];

beforeAll(async () => {
  cluster = await Cluster.start();
  s = await Session.start(cluster.url(await cluster.leader()));
  const begun = performance.now();
  const firsts = Array.from({ length: TASKS / BATCH }, (_, batch) => batch * BATCH);
  const worker = async () => {
    for (let first = firsts.pop(); first !== undefined; first = firsts.pop()) await register(first);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  tell(`${String(TASKS)} tasks registered`, begun);
  s.page.on('response', (response) => void note(response));
}, 300_000);

afterEach(() => {
  expect(s.troubles.splice(0)).toEqual([]);
});

afterAll(async () => {
  await s?.stop();
  await cluster?.stop();
});

const name = (index: number) => `svc-${String(index % 100).padStart(2, '0')}.job-${String(index).padStart(6, '0')}`;

async function register(first: number): Promise<void> {
  const tasks = Array.from({ length: BATCH }, (_, at) => {
    const index = first + at;
    const schedule = { at: new Date(Date.UTC(2040, 0, 1) + ((index * 7919) % TASKS) * 1000).toISOString() };
    return { name: name(index), labels: { service: `svc-${String(index % 100)}` }, schedule, action: { noop: {} } };
  });
  const { results } = (await s.call('POST', '/v1/tasks:batchCreate', { tasks })) as { results: { code?: number }[] };
  expect(results.filter(({ code }) => code)).toEqual([]);
}

async function note(response: Response): Promise<void> {
  const { pathname } = new URL(response.url());
  if (!pathname.startsWith('/v1/') || pathname.endsWith(':watch')) return;
  // The body of an answer that the page gave up on, since a newer one was asked for, is not there.
  const body = await response.text().catch(() => '');
  if (!body) return;
  const rows = pathname === '/v1/tasks' ? (JSON.parse(body) as { tasks: unknown[] }).tasks.length : 0;
  answers.push({ path: pathname, rows, bytes: body.length });
}

/** A figure for the reader; nothing is asserted of it. */
function tell(what: string, begun: number): void {
  console.log(`${what}: ${(performance.now() - begun).toFixed(0)} ms`);
}

const link = (index: number) => s.page.getByRole('link', { name: name(index), exact: true });

/** Do something, wait for a row, and see that neither the page nor what it was answered grew beyond a page of tasks. */
async function step(what: string, act: () => Promise<unknown>, shown: number): Promise<void> {
  answers = [];
  const begun = performance.now();
  await act();
  await link(shown).waitFor({ timeout: SLOW_MS });
  tell(what, begun);
  expect(await s.page.locator('tbody tr').count()).toBeLessThanOrEqual(PAGE);
  expect(await s.page.locator('*').count()).toBeLessThan(6000);
  const lists = () => answers.filter(({ path }) => path === '/v1/tasks');
  // The page may show what it was answered before that is noted here.
  await until(
    () => Promise.resolve(lists().length > 0),
    SLOW_MS,
    () => `no answer was noted of: ${what}`,
  );
  for (const { rows } of lists()) expect(rows).toBeLessThanOrEqual(PAGE);
  for (const { bytes } of answers) expect(bytes).toBeLessThan(200_000);
}

test('a table of 100,000 tasks is opened, filtered, sorted and paged, a page of it at a time', async () => {
  await step('first page', () => s.open('/tasks'), 0);
  await s.page.getByText(`${TASKS.toLocaleString('en')} registered`).waitFor({ timeout: SLOW_MS });
  await step('next page', () => s.button('Next').click(), PAGE * 100);
  await step('back', () => s.button('Back').click(), 0);
  await step('filter by name', () => s.field('Name contains').fill('svc-42.job-0042'), 4242);
  expect(await s.page.locator('tbody tr').count()).toBe(1);
  await step('no filter', () => s.open('/tasks'), 0);
  await step('sort by name, down', () => s.button('Name').click(), TASKS - 1);
  await step('sort by next fire', () => s.button('Next fire').click(), 0);
  await step('sort by next fire, down', () => s.button('Next fire').click(), last());
  await step('filter by label, behind 99,000 others', () => s.open('/tasks?label=service%3Dsvc-99'), 99);
  await step('sorted by next fire, of one label', () => s.open('/tasks?label=service%3Dsvc-0&sort=next_fire_time'), 0);
}, 240_000);

/** The task that fires last. */
function last(): number {
  for (let index = 0; index < TASKS; index += 1) if ((index * 7919) % TASKS === TASKS - 1) return index;
  throw new Error('no task fires last: 7919 and the number of tasks have a common divisor');
}
