import { faults } from './browser.ts';
import { shell, useSession } from './session.ts';

const session = useSession();
const KINDS = [
  ['light', 1280],
  ['dark', 1280],
  ['light', 390],
  ['dark', 390],
] as const;

test.each(KINDS)('no page has a serious fault for assistive technology, %s and %i wide', async (colorScheme, width) => {
  const s = session();
  const name = `accessible-${colorScheme}-${String(width)}`;
  await s.task(name, { labels: { team: 'e2e' }, action: shell(String.raw`printf '\033[31mred\033[0m\n'; exit 1`) });
  const id = await s.run(name);
  const paths = [
    ...['/', '/tasks', '/register', `/tasks/${name}`, `/tasks/${name}/edit`, '/executions', '/cluster'],
    ...[`/executions/${id}`, `/tasks/${name}?tab=ledger`, '/nowhere', '/tasks?prefix=none'],
  ];
  const found: string[] = [];
  const context = await s.browser.newContext({ viewport: { width, height: 800 }, colorScheme });
  for (const path of paths) {
    const shown = await context.newPage();
    s.watch(shown);
    await shown.goto(s.base + path);
    await shown.getByRole('heading', { level: 1 }).waitFor();
    await shown.getByRole('status', { name: 'Loading' }).first().waitFor({ state: 'detached' });
    found.push(...(await faults(shown)).map((fault) => `${path}: ${fault}`));
    const wider = await shown.evaluate(
      () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
    );
    if (wider) found.push(`${path} is wider than the window`);
    await shown.close();
  }
  await context.close();
  expect(found).toEqual([]);
});

test('light and dark are chosen by a button, and kept', async () => {
  const s = session();
  await s.open('/tasks');
  await s.button('Dark colours').click();
  await s.page.reload();
  expect(await s.page.evaluate(() => document.documentElement.dataset.mantineColorScheme)).toBe('dark');
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
