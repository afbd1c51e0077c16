import { useSession } from './session.ts';

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
  await s.field('Name begins with').fill('filtered.');
  await s.page.waitForURL(/prefix=filtered/);
  await s.page.getByRole('link', { name: 'other.one' }).waitFor({ state: 'detached' });
  await s.page.reload();
  expect(await s.field('Name begins with').inputValue()).toBe('filtered.');
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
  await bulk.getByRole('button', { name: 'Pause' }).click();
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

test('a task is deleted after a question', async () => {
  const s = session();
  await s.task('to-delete');
  await s.open('/tasks/to-delete');
  await s.button('Delete').click();
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
  expect(await s.page.evaluate(() => document.activeElement?.id)).toBe('main');
  await s.button('Pause').focus();
  await s.page.keyboard.press('Enter');
  await s.seen('Paused by-keyboard');
});
