import { shell, SLOW_MS, useSession } from './session.ts';

const session = useSession();
const logs = () => session().page.getByRole('table', { name: 'Logs' });

test('output is found by its words, and the search is in the address', async () => {
  const s = session();
  await s.task('searched.database', { action: shell('echo "psql: connection refused" >&2; exit 3') });
  await s.task('searched.other', { action: shell('echo all is well') });
  await s.run('searched.database');
  await s.run('searched.other');
  await s.open('/logs?task=searched.');
  await logs().getByRole('link', { name: 'searched.other' }).waitFor({ timeout: SLOW_MS });
  await s.field('Words').fill('connection refused');
  await s.page.waitForURL(/q=connection/);
  await logs().getByRole('link', { name: 'searched.other' }).waitFor({ state: 'detached' });
  await logs().locator('mark', { hasText: 'refused' }).waitFor();
  await s.page.reload();
  expect(await s.field('Words').inputValue()).toBe('connection refused');
  await logs().getByRole('link', { name: 'searched.database' }).click();
  await s.heading('searched.database');
});

test('the log is filtered by state, exit code and duration', async () => {
  const s = session();
  await s.task('sieved.slow', { action: shell('sleep 1.2; exit 7') });
  await s.task('sieved.quick');
  await s.run('sieved.quick');
  await s.run('sieved.slow');
  await s.open('/logs?task=sieved.&state=failed&exit=7&longer=1s');
  await logs().getByRole('link', { name: 'sieved.slow' }).waitFor({ timeout: SLOW_MS });
  await s.open('/logs?task=sieved.&state=succeeded');
  await logs().getByRole('link', { name: 'sieved.quick' }).waitFor({ timeout: SLOW_MS });
  expect(await logs().getByRole('link', { name: 'sieved.slow' }).count()).toBe(0);
});

test('a search that cannot be read is refused with the reason', async () => {
  const s = session();
  await s.open('/logs?q=%22open');
  await s.seen('This did not work');
  await s.open('/logs?q=nothing-says-this');
  await s.seen('Nothing matches');
});

test('what was changed in a task is shown with what it was', async () => {
  const s = session();
  await s.task('changed.often', { labels: { team: 'one' } });
  await s.call('PATCH', '/v1/tasks/changed.often', { labels: { team: 'two' } });
  await s.open('/tasks/changed.often?tab=changes');
  const changes = s.page.getByRole('list', { name: 'Changes' });
  await changes.getByText('Created').waitFor({ timeout: SLOW_MS });
  await changes.locator('ins', { hasText: 'two' }).waitFor();
  await changes.locator('del', { hasText: 'one' }).waitFor();
});

test('the last runs of a task are a strip in the list, and lead to the execution', async () => {
  const s = session();
  await s.task('striped');
  const id = await s.run('striped');
  await s.open('/tasks?prefix=striped');
  await s.page
    .getByRole('table', { name: 'Tasks' })
    .getByRole('link', { name: /Succeeded/ })
    .click();
  await s.page.waitForURL(`**/executions/${id}`);
});
