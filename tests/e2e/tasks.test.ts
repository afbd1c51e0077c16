import { shell, SLOW_MS, useSession, ZONE } from './session.ts';

const session = useSession();

test('tasks are listed with their state, schedule and next fire', async () => {
  const s = session();
  await s.task('listed.daily', { schedule: { cron: { expression: '0 3 * * *', timeZone: 'Asia/Tokyo' } } });
  await s.task('listed.paused', { paused: true });
  await s.open('/tasks?prefix=listed.');
  const rows = s.page.getByRole('table', { name: 'Tasks' }).getByRole('row');
  await rows
    .filter({ hasText: 'listed.daily' })
    .filter({ hasText: '03:00:00' })
    .filter({ hasText: 'Active' })
    .waitFor();
  await rows.filter({ hasText: 'listed.paused' }).filter({ hasText: 'Paused' }).waitFor();
});

test('a filter of tasks is in the address and survives a reload', async () => {
  const s = session();
  await s.task('filtered.one', { labels: { colour: 'red' } });
  await s.task('other.one', { labels: { colour: 'red' } });
  await s.open('/tasks?label=colour%3Dred');
  await s.page.getByRole('link', { name: 'other.one' }).waitFor();
  await s.field('Name contains').fill('ERED.o');
  await s.page.waitForURL(/search=ERED/);
  await s.page.getByRole('link', { name: 'other.one' }).waitFor({ state: 'detached' });
  await s.page.reload();
  expect(await s.field('Name contains').inputValue()).toBe('ERED.o');
  await s.page.getByRole('link', { name: 'filtered.one' }).waitFor();
});

test('tasks are paused, resumed, run and deleted in bulk', async () => {
  const s = session();
  const names = ['bulk.a', 'bulk.b', 'bulk.c'];
  for (const name of names) await s.task(name);
  await s.open('/tasks?prefix=bulk.');
  const bulk = s.page.getByRole('group', { name: 'Chosen tasks' });
  const states = async () => {
    const { tasks } = (await s.call('GET', '/v1/tasks?namePrefix=bulk.')) as { tasks: { state: string }[] };
    return tasks.map((task) => task.state.replace('TASK_STATE_', ''));
  };
  const all = s.field('Choose all rows of this page');
  await s.page.getByRole('link', { name: 'bulk.a' }).waitFor();
  await all.check();
  await bulk.getByText('3 chosen').waitFor();
  await bulk.getByRole('button', { name: 'Pause', exact: true }).click();
  await s.seen('Paused 3 tasks');
  expect(await states()).toEqual(['PAUSED', 'PAUSED', 'PAUSED']);
  await all.check();
  await bulk.getByRole('button', { name: 'Resume' }).click();
  await s.seen('Resumed 3 tasks');
  expect(await states()).toEqual(['ACTIVE', 'ACTIVE', 'ACTIVE']);
  await all.check();
  await bulk.getByRole('button', { name: 'Run now' }).click();
  await s.seen('Started 3 tasks');
  await s.field('Choose bulk.c').uncheck();
  await s.field('Choose bulk.a').check();
  await s.field('Choose bulk.b').check();
  await bulk.getByRole('button', { name: 'Delete' }).click();
  await s.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await s.seen('Deleted 2 tasks');
  await s.page.getByRole('link', { name: 'bulk.a' }).waitFor({ state: 'detached' });
  expect(await states()).toEqual(['ACTIVE']);
});

test('tasks are sorted by what fires next, either way', async () => {
  const s = session();
  await s.task('sorted.a', { schedule: { at: '2040-01-01T00:00:00Z' } });
  await s.task('sorted.b', { schedule: { at: '2039-01-01T00:00:00Z' } });
  await s.open('/tasks?prefix=sorted.');
  const first = s.page.getByRole('table', { name: 'Tasks' }).getByRole('row').nth(1);
  await first.filter({ hasText: 'sorted.a' }).waitFor();
  await s.button('Next fire').click();
  await first.filter({ hasText: 'sorted.b' }).waitFor();
  await s.button('Next fire').click();
  await s.page.waitForURL(/sort=next_fire_time\+desc/);
  await first.filter({ hasText: 'sorted.a' }).waitFor();
});

test('a long list is paged, forward and back', async () => {
  const s = session();
  const tasks = Array.from({ length: 60 }, (_, index) => ({
    name: `paged.${String(index).padStart(2, '0')}`,
    schedule: { cron: { expression: '@yearly' } },
    action: { noop: {} },
  }));
  await s.call('POST', '/v1/tasks:batchCreate', { tasks });
  await s.open('/tasks?prefix=paged.');
  await s.page.getByRole('link', { name: 'paged.49' }).waitFor();
  await s.button('Next').click();
  await s.page.getByRole('link', { name: 'paged.59' }).waitFor();
  expect(await s.page.getByRole('link', { name: 'paged.49' }).count()).toBe(0);
  await s.button('Back').click();
  await s.page.getByRole('link', { name: 'paged.00' }).waitFor();
});

test('a run that was started by hand is reached from what says that it started', async () => {
  const s = session();
  await s.task('started.by.hand');
  await s.open('/tasks/started.by.hand');
  await s.button('Run now').click();
  await s.page.getByRole('link', { name: 'Show the run' }).click();
  await s.page.waitForURL(/\/executions\/[0-9A-Z]{26}$/);
  await s.heading('started.by.hand');
});

test('a task is deleted after a question', async () => {
  const s = session();
  await s.task('to-delete');
  await s.open('/tasks/to-delete');
  await s.menu('More', 'Delete');
  await s.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await s.page.waitForURL(/\/tasks$/);
  await s.open('/tasks/to-delete');
  await s.seen('There is no task to-delete');
});

test('a task that is registered elsewhere appears in the list by itself', async () => {
  const s = session();
  await s.open('/tasks?prefix=appears');
  await s.seen('No task matches');
  await s.task('appears');
  await s.page.getByRole('link', { name: 'appears' }).waitFor();
});

test('the keyboard alone reaches the content, a task and its actions', async () => {
  const s = session();
  await s.task('by-keyboard');
  await s.open('/tasks?prefix=by-keyboard');
  await s.page.getByRole('link', { name: 'by-keyboard' }).waitFor();
  await s.page.keyboard.press('Tab');
  expect(await s.page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the content');
  await s.page.getByRole('link', { name: 'by-keyboard' }).focus();
  await s.page.keyboard.press('Enter');
  await s.heading('by-keyboard');
  await s.page.waitForFunction(() => document.activeElement?.id === 'main');
  await s.button('Pause').focus();
  await s.page.keyboard.press('Enter');
  await s.seen('Paused by-keyboard');
});

test('a task is paused until a date, and resumes by itself', async () => {
  const s = session();
  await s.task('pause.until');
  await s.open('/tasks/pause.until');
  await s.menu('More', 'Pause until…');
  const dialog = s.page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Monday at 9' }).click();
  expect(await dialog.getByLabel('Resumes at').inputValue()).toMatch(/T09:00/);
  await dialog.getByLabel('Resumes at').fill('2020-01-01T00:00:00');
  await dialog.getByRole('button', { name: 'Pause', exact: true }).click();
  await dialog.getByText('This has passed already').waitFor();
  const soon = new Date(Math.floor(Date.now() / 1000) * 1000 + 15_000);
  await dialog.getByLabel('Resumes at').fill(soon.toLocaleString('sv-SE', { timeZone: ZONE }).replace(' ', 'T'));
  await dialog.getByRole('button', { name: 'Pause', exact: true }).click();
  await s.seen(/^Paused pause.until until /);
  expect(await s.call('GET', '/v1/tasks/pause.until')).toMatchObject({
    resumeTime: soon.toISOString().replace('.000', ''),
  });
  await s.page.getByText('Paused', { exact: true }).waitFor();
  await s.page.getByText('Active', { exact: true }).waitFor({ timeout: SLOW_MS });
});

test('tasks are paused until a date in bulk', async () => {
  const s = session();
  for (const name of ['pause.bulk.a', 'pause.bulk.b']) await s.task(name);
  await s.open('/tasks?prefix=pause.bulk.');
  await s.page.getByRole('link', { name: 'pause.bulk.b' }).waitFor();
  await s.field('Choose all rows of this page').check();
  await s.page.getByRole('group', { name: 'Chosen tasks' }).getByRole('button', { name: 'Pause until…' }).click();
  const dialog = s.page.getByRole('dialog', { name: 'Pause 2 tasks until' });
  await dialog.getByRole('button', { name: 'Tomorrow at 9' }).click();
  await dialog.getByRole('button', { name: 'Pause', exact: true }).click();
  await s.seen(/^Paused 2 tasks until .* 09:00:00$/);
  await s.page
    .getByText(/^resumes in/)
    .nth(1)
    .waitFor();
});

test('a past range is backfilled after a look at what it would run', async () => {
  const s = session();
  const schedule = { cron: { expression: '0 3 * * *', timeZone: 'Asia/Tokyo' } };
  await s.task('made.up', { schedule, action: shell('echo made up') });
  await s.open('/tasks/made.up');
  await s.menu('More', 'Backfill…');
  const dialog = s.page.getByRole('dialog', { name: 'Backfill made.up' });
  await dialog.getByLabel('From').fill('2026-01-01T00:00:00');
  await dialog.getByLabel('Until before').fill('2026-01-04T00:00:00');
  await dialog.getByLabel('At most').fill('2');
  await dialog.getByRole('button', { name: 'Show the times' }).click();
  await dialog.getByText(/the range has 3 nominal times/).waitFor();
  await dialog.getByLabel('At most').fill('');
  await dialog.getByRole('button', { name: 'Show the times' }).click();
  await dialog.getByText('3 nominal times, none of them on record').waitFor();
  const rows = dialog.getByRole('table', { name: 'Nominal times' }).getByRole('row');
  expect(await rows.nth(1).innerText()).toMatch(/2026-01-01 03:00:00 UTC\+09:00/);
  expect((await s.call('GET', '/v1/executions?task=made.up')).executions).toEqual([]);
  await dialog.getByRole('button', { name: 'Run 3 executions' }).click();
  await s.seen('Backfill of 3 executions began');
  const ended = s.page.getByRole('table', { name: 'Executions' }).getByText('Succeeded');
  await ended.nth(2).waitFor({ timeout: SLOW_MS });
  await s.menu('More', 'Backfill…');
  await dialog.getByLabel('From').fill('2026-01-02T00:00:00');
  await dialog.getByLabel('Until before').fill('2026-01-05T00:00:00');
  await dialog.getByRole('button', { name: 'Show the times' }).click();
  await dialog.getByText('3 nominal times, 2 of them on record').waitFor();
  await rows.nth(1).getByText('Ran').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
});
