import { SLOW_MS, useSession } from './session.ts';

const session = useSession();

test('a calendar is made, edited and deleted, and not while a task names it', async () => {
  const s = session();
  await s.open('/');
  await s.page.getByRole('link', { name: 'Calendars' }).click();
  await s.heading('Calendars');
  await s.button('New calendar').click();
  await s.field('Name').fill('holidays');
  await s.field('Leaves out').fill('2030-02-30');
  await s.button('Make').click();
  await s.page.getByRole('dialog').locator('textarea[aria-invalid=true]').waitFor();
  await s.field('Leaves out').fill('2030-12-24..2030-12-26 Christmas\n2031-01-01 New Year');
  await s.button('Make').click();
  const row = s.page.getByRole('row').filter({ hasText: 'holidays' });
  await row.waitFor({ timeout: SLOW_MS });
  expect((await s.call('GET', '/v1/calendars/holidays')).exclusions).toMatchObject([
    { date: '2030-12-24', lastDate: '2030-12-26', reason: 'Christmas' },
    { date: '2031-01-01', reason: 'New Year' },
  ]);
  const schedule = { cron: { expression: '0 9 1 1 *' }, calendars: ['holidays'] };
  await s.task('workdays', { schedule });
  expect((await s.call('GET', '/v1/tasks/workdays')).schedule).toMatchObject({ calendars: ['holidays'] });
  await s.button('Edit holidays').click();
  await s.field('Leaves out').fill('2031-01-01 New Year');
  await s.button('Save').click();
  await s.seen('Saved holidays');
  expect((await s.call('GET', '/v1/calendars/holidays')).exclusionCount).toBe(1);
  await s.button('Delete holidays').click();
  await s.button('Delete').click();
  await s.seen('holidays was not deleted');
  await s.call('DELETE', '/v1/tasks/workdays');
  await s.button('Delete holidays').click();
  await s.button('Delete').click();
  await row.waitFor({ state: 'detached', timeout: SLOW_MS });
});
