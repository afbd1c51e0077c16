import { SLOW_MS, useSession } from './session.ts';

const session = useSession();

test('a group is made, edited and deleted, and not while a task names it', async () => {
  const s = session();
  await s.open('/');
  await s.page.getByRole('link', { name: 'Groups' }).click();
  await s.heading('Groups');
  await s.button('New group').click();
  await s.field('Name').fill('reports');
  await s.button('Make').click();
  await s.seen(/the group has no limit/);
  await s.field('Running at once').fill('2');
  await s.field('Starts in a period').fill('5');
  await s.field('Period').fill('10s');
  await s.button('Make').click();
  const row = s.page.getByRole('row').filter({ hasText: 'reports' });
  await row.filter({ hasText: '0 of 2' }).filter({ hasText: '5 in 10' }).waitFor({ timeout: SLOW_MS });
  await s.task('monthly', { group: 'reports' });
  await s.button('Edit reports').click();
  expect(await s.field('Period').inputValue()).toBe('10s');
  await s.field('Running at once').fill('7');
  await s.field('Starts in a period').fill('');
  await s.field('Period').fill('');
  await s.button('Save').click();
  await row.filter({ hasText: '0 of 7' }).filter({ hasText: 'no limit' }).waitFor({ timeout: SLOW_MS });
  await s.button('Delete reports').click();
  await s.button('Delete').click();
  await s.seen('reports was not deleted');
  await s.call('DELETE', '/v1/tasks/monthly');
  await s.button('Delete reports').click();
  await s.button('Delete').click();
  await row.waitFor({ state: 'detached', timeout: SLOW_MS });
});
