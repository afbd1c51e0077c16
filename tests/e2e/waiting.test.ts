import { shell, SLOW_MS, useSession } from './session.ts';

const session = useSession();
const WHY = /No connected executor carries place=nowhere/;

/** Three runs of a task that no executor may run, which have waited too long. */
async function waits(name: string): Promise<string> {
  const s = session();
  await s.task(name, { executorLabels: { place: 'nowhere' }, action: shell('true') });
  const { id } = (await s.call('POST', `/v1/tasks/${name}:run`)) as { id: string };
  for (let more = 2; more; more -= 1) await s.call('POST', `/v1/tasks/${name}:run`);
  return id;
}

test('the page of an execution and that of its task say why it waits, and nothing of it is painted as success', async () => {
  const s = session();
  const id = await waits('waits.alone');
  await s.open(`/executions/${id}`);
  await s.seen('Why it has not started');
  await s.seen(WHY);
  await s.open('/tasks/waits.alone');
  await s.seen('Executions wait for more than 10 s');
  await s.page.getByText(/^3: No connected executor carries place=nowhere/).waitFor();
  await s.page.getByRole('img', { name: 'Executions by day in 53 weeks: 3 executions, 3 waiting' }).waitFor();
  await s.page.getByRole('img', { name: /^Executions by day and hour in 7 days: 3 executions, 3 waiting$/ }).waitFor();
  const painted = await s.page
    .locator('.heat-cell[style], .year-day[style]')
    .evaluateAll((cells) =>
      cells.map((cell) => cell.getAttribute('style') ?? '').filter((style) => style.includes('good')),
    );
  expect(painted).toEqual([]);
  await s.page.getByRole('table', { name: 'Executions' }).getByText(WHY).filter({ visible: true }).first().waitFor();
  await s.call('DELETE', '/v1/tasks/waits.alone');
});

test('the overview says what waits and why, and counts what has not started as late', async () => {
  const s = session();
  const id = await waits('waits.overview');
  await s.open('/');
  const waiting = s.page.getByRole('table', { name: 'What waits' });
  await waiting.getByText(WHY).waitFor({ timeout: SLOW_MS });
  await waiting.getByRole('link', { name: 'waits.overview' }).waitFor();
  await s.page.getByText(/, and waits$/).waitFor();
  await s.page.getByRole('img', { name: /some have not started$/ }).waitFor();
  await s.page.getByRole('link', { name: 'Tasks with executions that wait' }).click();
  await s.page.waitForURL(/needs=waiting/);
  await s.page.getByRole('table', { name: 'Tasks' }).getByRole('link', { name: 'waits.overview' }).waitFor();
  await s.call('POST', `/v1/executions/${id}:cancel`);
  await s.open(`/executions/${id}`);
  await s.seen('Cancelled');
  await s.page.getByText('Why it has not started').waitFor({ state: 'detached' });
});

test('failures are told by task with their reason, and tasks that fail are listed', async () => {
  const s = session();
  await s.task('fails.often', { action: shell('exit 3') });
  await s.task('fails.never');
  for (let runs = 3; runs; runs -= 1) await s.run('fails.often');
  await s.run('fails.never');
  await s.open('/');
  const row = s.page
    .getByRole('table', { name: 'Failures by task' })
    .getByRole('row')
    .filter({ hasText: 'fails.often' });
  await row.filter({ hasText: 'exit 3' }).getByRole('link', { name: '3', exact: true }).waitFor({ timeout: SLOW_MS });
  await s.open('/tasks?prefix=fails.&needs=failing');
  const tasks = s.page.getByRole('table', { name: 'Tasks' });
  await tasks.getByRole('link', { name: 'fails.often' }).waitFor();
  expect(await tasks.getByRole('link', { name: 'fails.never' }).count()).toBe(0);
  await s.open('/tasks/fails.often');
  const reason = s.page.getByRole('alert').filter({ hasText: 'The last execution did not succeed' });
  await reason.getByText(/Failed, exit 3/).waitFor();
  const year = s.page.getByRole('heading', { name: /^Executions of the last year/ });
  const [above, below] = [await reason.boundingBox(), await year.boundingBox()];
  expect(above?.y ?? Infinity).toBeLessThan(below?.y ?? 0);
});
