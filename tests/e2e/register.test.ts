import { shell, SLOW_MS, useSession } from './session.ts';

const session = useSession();

test('a one-time task is registered and runs at its time', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('just-once');
  await s.text('Once').click();
  const soon = new Date(Date.now() + 10_000);
  const local = soon.toLocaleString('sv-SE', { timeZone: 'America/New_York' }).replace(' ', 'T');
  await s.field('At').fill(local);
  await s.field('Command line').fill('echo "hello world"');
  await s.button('Register').click();
  await s.heading('just-once');
  await s.page.getByRole('table', { name: 'Executions' }).getByText('Succeeded').waitFor({ timeout: SLOW_MS });
  await s.seen('Finished');
});

test('a recurring task is registered, and runs again and again', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('again-and-again');
  await s.text('Interval').click();
  await s.field('Every').fill('1s');
  await s.field('Command line').fill('true');
  await s.button('Register').click();
  await s.heading('again-and-again');
  const ended = s.page.getByRole('table', { name: 'Executions' }).getByText('Succeeded');
  await ended.nth(2).waitFor({ timeout: SLOW_MS });
});

test('a description is shown as Markdown, and it and the owner are edited', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('described');
  await s.unfold('What it is for');
  await s.field('Description').fill('# Reminders\n\n**When it fails** <b id="injected">call</b>');
  await s.field('Owner').fill('Team Billing');
  await s.field('Command line').fill('true');
  await s.button('Register').click();
  await s.heading('described');
  await s.page.locator('.markdown strong', { hasText: 'When it fails' }).waitFor();
  await s.seen('Team Billing');
  expect(await s.page.locator('#injected').count()).toBe(0);
  await s.open('/tasks/described/edit');
  await s.unfold('What it is for');
  await s.field('Owner').fill('Team Collections');
  await s.field('Description').fill('');
  await s.button('Save').click();
  await s.seen('Team Collections');
  expect(await s.page.locator('.markdown').count()).toBe(0);
});

test('the cron editor says the expression in words and shows the next ten fires of the server', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Cron expression').fill('30 2 * * 1-5');
  await s.seen('At 02:30, Monday through Friday');
  const rows = s.page.getByRole('table', { name: 'Next fires' }).getByRole('row');
  await rows.nth(10).filter({ hasText: '02:30:00' }).waitFor();
  expect(await rows.count()).toBe(11);
  await s.button('Last of the month').click();
  await s.seen('At 23:00, on the last day of the month');
  await s.field('Cron expression').fill('99 * * * *');
  await s.page
    .getByRole('status')
    .filter({ hasText: /minute/ })
    .waitFor();
});

test('fires are shown in the zone of the task and in that of the viewer', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Cron expression').fill('0 9 * * *');
  await s.field('Time zone').click();
  await s.page.keyboard.type('Asia/Tokyo');
  await s.page.getByRole('option', { name: 'Asia/Tokyo' }).click();
  const first = s.page.getByRole('table', { name: 'Next fires' }).getByRole('row').nth(1);
  await first
    .filter({ hasText: '09:00:00' })
    .filter({ hasText: /1[89]:00:00/ })
    .waitFor();
});

test('what the server refuses stands beside its field', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('not a name');
  await s.field('Command line').fill('true');
  await s.unfold('Where it runs');
  await s.field('Priority').fill('99');
  await s.button('Register').click();
  await s.seen(/is not a task name/);
  expect(await s.field('Name').getAttribute('aria-invalid')).toBe('true');
  await s.field('Name').fill('a-name');
  await s.button('Register').click();
  await s.page.waitForSelector('[data-field=priority] [aria-invalid=true]');
});

test('every policy of the form reaches the task and comes back when it is edited', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('with-policies');
  await s.text('HTTP').click();
  await s.field('URL').fill('http://127.0.0.1:9/');
  await s.unfold('When runs overlap');
  await s.unfold('When it is late');
  await s.unfold('When it fails');
  await s.field('Overlap').click();
  await s.page.getByRole('option', { name: 'Queue' }).click();
  await s.field('Open at once').fill('2');
  await s.field('Waiting at most').fill('3');
  await s.field('Jitter').fill('5s');
  await s.field('Start deadline').fill('1m');
  await s.page.getByRole('switch', { name: 'Try again when an attempt fails' }).click();
  await s.field('Attempts in all').fill('4');
  await s.button('Register').click();
  await s.heading('with-policies');
  const task = await s.call('GET', '/v1/tasks/with-policies');
  expect(task).toMatchObject({ overlapPolicy: 'OVERLAP_POLICY_QUEUE', maxRunning: 2, maxQueued: 3, jitter: '5s' });
  expect(task).toMatchObject({ startDeadline: '60s', retry: { maxAttempts: 4 } });
  await s.open('/tasks/with-policies/edit');
  await s.unfold('When runs overlap');
  await s.unfold('When it fails');
  expect(await s.field('Waiting at most').inputValue()).toBe('3');
  expect(await s.field('Attempts in all').inputValue()).toBe('4');
  await s.page.getByRole('switch', { name: 'Try again when an attempt fails' }).click();
  await s.button('Save').click();
  await s.heading('with-policies');
  const edited = await s.call('GET', '/v1/tasks/with-policies');
  expect(edited.retry).toBeUndefined();
  expect(edited).toMatchObject({ overlapPolicy: 'OVERLAP_POLICY_QUEUE', generation: task.generation });
});

test('days that are left out, a group and notifications reach the task and come back when it is edited', async () => {
  const s = session();
  await s.call('POST', '/v1/groups', { name: 'shared-database', maxRunning: 2 });
  await s.call('POST', '/v1/calendars', { name: 'closed-days', exclusions: [{ date: '2031-05-01' }] });
  await s.open('/register');
  await s.field('Name').fill('told-of');
  await s.field('Cron expression').fill('0 9 * * *');
  await s.unfold('More of the schedule');
  await s.unfold('Notifications');
  await s.unfold('Where it runs');
  await s.field('Calendars').fill('closed');
  await s.page.getByRole('option', { name: 'closed-days' }).click();
  await s.field('Leaves out').fill('2030-12-24..2030-12-26 holidays\n2031-01-01');
  await s.field('Command line').fill('true');
  await s.page.getByRole('switch', { name: 'Tell a webhook' }).click();
  await s.field('Webhook').fill('http://127.0.0.1:9/hook');
  await s.field('When').press('ArrowDown');
  await s.page.getByRole('option', { name: 'it failed for good' }).click();
  await s.page.getByRole('option', { name: 'no success was reported in time' }).click();
  await s.page.keyboard.press('Escape');
  await s.field('Success is due within').fill('1h');
  await s.field('Group').click();
  await s.page.getByRole('option', { name: 'shared-database' }).click();
  await s.button('Register').click();
  await s.heading('told-of');
  const task = await s.call('GET', '/v1/tasks/told-of');
  expect(task).toMatchObject({
    group: 'shared-database',
    schedule: {
      calendars: ['closed-days'],
      exclusions: [{ date: '2030-12-24', lastDate: '2030-12-26', reason: 'holidays' }, { date: '2031-01-01' }],
    },
    notifications: {
      url: 'http://127.0.0.1:9/hook',
      occasions: ['OCCASION_FAILURE', 'OCCASION_MISSING'],
      reportWithin: '3600s',
    },
  });
  await s.seen('2030-12-24..2030-12-26 holidays');
  await s.open('/tasks/told-of/edit');
  await s.unfold('More of the schedule');
  await s.unfold('Notifications');
  await s.unfold('Where it runs');
  expect(await s.field('Leaves out').inputValue()).toBe('2030-12-24..2030-12-26 holidays\n2031-01-01');
  expect(await s.field('Group').inputValue()).toBe('shared-database');
  await s.field('Leaves out').fill('2030-13-24');
  await s.button('Save').click();
  await s.page.waitForSelector('[data-field="schedule.exclusions"] [aria-invalid=true]');
  await s.field('Leaves out').fill('');
  await s.page.getByRole('switch', { name: 'Tell a webhook' }).click();
  await s.button('Save').click();
  await s.heading('told-of');
  const edited = await s.call('GET', '/v1/tasks/told-of');
  expect(edited.notifications).toBeUndefined();
  expect(edited.schedule).toMatchObject({ exclusions: [] });
});

test('a kind that is written as JSON is registered as it stands', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('from-json');
  await s.page.getByRole('group', { name: 'Kind of schedule' }).getByText('JSON').click();
  await s.field('Schedule as JSON').fill('{"interval": {"every": "7200s"}}');
  await s.field('Command line').fill('true');
  await s.button('Register').click();
  await s.heading('from-json');
  expect((await s.call('GET', '/v1/tasks/from-json')).schedule).toMatchObject({ interval: { every: '7200s' } });
});

test('a task is edited, and a change by somebody else in between is not overwritten', async () => {
  const s = session();
  await s.task('to-edit', { labels: { team: 'e2e' }, action: shell('true') });
  await s.open('/tasks/to-edit/edit');
  await s.unfold('When it fails');
  await s.field('Time limit').fill('90s');
  await s.button('Save').click();
  await s.heading('to-edit');
  await s.seen('1 min 30 s');
  await s.open('/tasks/to-edit/edit');
  await s.unfold('When it fails');
  await s.field('Time limit').fill('2m');
  await s.call('PATCH', '/v1/tasks/to-edit?updateMask=labels', { name: 'to-edit', labels: { team: 'other' } });
  await s.button('Save').click();
  await s.seen('The task was refused');
  await s.button('Load what it is now (your changes are dropped)').click();
  await s.page.waitForFunction(
    () => document.querySelector<HTMLInputElement>('[data-field=timeLimit] input')?.value === '1m30s',
  );
  expect(await s.field('Label value 1').inputValue()).toBe('other');
});

test('a task is duplicated with changes', async () => {
  const s = session();
  await s.task('original', { labels: { team: 'e2e' }, priority: 3, action: shell('echo original') });
  await s.open('/tasks/original');
  await s.menu('More', 'Duplicate');
  await s.field('Name').fill('the-copy');
  await s.field('Script').fill('echo copy');
  await s.button('Register').click();
  await s.heading('the-copy');
  const copy = await s.call('GET', '/v1/tasks/the-copy');
  expect(copy).toMatchObject({ labels: { team: 'e2e' }, priority: 3, action: shell('echo copy') });
});

test('a task is registered to run after another, and does', async () => {
  const s = session();
  await s.task('chain.first');
  await s.open('/register');
  await s.field('Name').fill('chain.second');
  await s.page.getByRole('group', { name: 'Kind of schedule' }).getByText('None').click();
  await s.field('Command line').fill('true');
  await s.button('Add task').click();
  await s.field('Task key 1').fill('chain.first');
  await s.button('Register').click();
  await s.heading('chain.second');
  await s.run('chain.first');
  await s.page.getByRole('table', { name: 'Executions' }).getByText('Succeeded').waitFor({ timeout: SLOW_MS });
});

test('a recurrence rule is previewed and registered', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('last-friday');
  await s.text('RRULE').click();
  await s.field('Recurrence rule').fill('FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0');
  await s.page
    .getByRole('table', { name: 'Next fires' })
    .getByText(/18:00:00/)
    .first()
    .waitFor();
  await s.field('Command line').fill('true');
  await s.button('Register').click();
  await s.heading('last-friday');
});

test('what most need is at hand, and a folded section says what is set in it and opens when it is wrong', async () => {
  const s = session();
  await s.open('/register');
  await s.heading('New task');
  const height = await s.page.evaluate(() => document.documentElement.scrollHeight);
  expect(height).toBeLessThan(1500);
  expect(await s.field('Jitter').isVisible()).toBe(false);
  await s.unfold('When it is late');
  await s.field('Jitter').fill('soon');
  await s.page.locator('summary', { hasText: 'When it is late' }).click();
  await s.page.locator('summary').getByText('Jitter: soon').waitFor();
  await s.field('Jitter').waitFor({ state: 'hidden' });
  await s.field('Name').fill('folded');
  await s.field('Command line').fill('true');
  await s.button('Register').click();
  await s.page.waitForSelector('[data-field=jitter] [aria-invalid=true]');
});

test('what the schedule would be refused for stands at its field before it is sent', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Cron expression').fill('61 * * * *');
  const field = s.page.locator('[data-field="schedule.cron.expression"]');
  await field.locator('[aria-invalid=true]').waitFor();
  await field
    .getByText(/minute/)
    .last()
    .waitFor();
  await s.field('Cron expression').fill('6 * * * *');
  await field.locator('[aria-invalid=true]').waitFor({ state: 'detached' });
});

test('a task that no executor may run is warned of before it is registered, and after', async () => {
  const s = session();
  await s.open('/register');
  await s.field('Name').fill('warned');
  await s.field('Command line').fill('true');
  await s.unfold('Where it runs');
  await s.button('Add executor label').click();
  await s.field('Executor label key 1').fill('place');
  await s.field('Executor label value 1').fill('nowhere');
  const warning = /no connected executor carries/i;
  await s.page.locator('[data-field=executorLabels]').getByText(warning).waitFor();
  await s.button('Register').click();
  await s.heading('warned');
  const told = s.page.getByRole('alert').filter({ hasText: 'Registered warned, but look' });
  await told.getByText(warning).waitFor();
  await s.page.getByText('This may not be meant').waitFor();
});

test('a half-typed form is not thrown away without a question', async () => {
  const s = session();
  await s.open('/tasks');
  await s.page.getByRole('link', { name: 'New task' }).click();
  await s.heading('New task');
  await s.field('Name').fill('half-typed');
  const question = s.page.getByRole('dialog', { name: 'Throw away what you typed?' });
  await s.page.getByRole('link', { name: 'Groups' }).click();
  await question.getByRole('button', { name: 'Go on editing' }).click();
  await question.waitFor({ state: 'detached' });
  await s.page.goBack();
  await question.getByRole('button', { name: 'Go on editing' }).click();
  await question.waitFor({ state: 'detached' });
  expect(await s.field('Name').inputValue()).toBe('half-typed');
  const asked = s.page.waitForEvent('dialog');
  const reload = s.page.reload();
  const dialog = await asked;
  expect(dialog.type()).toBe('beforeunload');
  await dialog.accept();
  await reload;
  await s.field('Name').fill('half-typed again');
  await s.page.getByRole('link', { name: 'Groups' }).click();
  await question.getByRole('button', { name: 'Throw away' }).click();
  await s.heading('Groups');
});

test('a dialog with something typed is not closed by a click beside it, or Escape, without a question', async () => {
  const s = session();
  await s.open('/groups');
  await s.button('New group').click();
  const dialog = s.page.getByRole('dialog', { name: 'New group' });
  await dialog.getByLabel('Name').fill('half-typed');
  const question = s.page.getByRole('dialog', { name: 'Throw away what you typed?' });
  await s.page.mouse.click(5, 400);
  await question.getByRole('button', { name: 'Go on editing' }).click();
  await question.waitFor({ state: 'detached' });
  expect(await dialog.getByLabel('Name').inputValue()).toBe('half-typed');
  await dialog.getByLabel('Name').press('Escape');
  await question.getByRole('button', { name: 'Throw away' }).click();
  await dialog.waitFor({ state: 'detached' });
  await s.button('New group').click();
  expect(await dialog.getByLabel('Name').inputValue()).toBe('');
  await s.page.mouse.click(5, 400);
  await dialog.waitFor({ state: 'detached' });
});

test('on a narrow screen the button that registers is in view from the beginning', async () => {
  const s = session();
  await s.page.setViewportSize({ width: 390, height: 800 });
  try {
    await s.open('/register');
    await s.field('Name').fill('from-a-phone');
    const box = await s.button('Register').boundingBox();
    expect((box?.y ?? Infinity) + (box?.height ?? 0)).toBeLessThanOrEqual(800);
    await s.field('Command line').fill('true');
    await s.button('Register').click();
    await s.heading('from-a-phone');
  } finally {
    await s.page.setViewportSize({ width: 1280, height: 800 });
  }
});
