import { readFileSync } from 'node:fs';
import type { Request } from 'playwright-core';
import { Gate, shell, SLOW_MS, useSession } from './session.ts';

const session = useSession();

test('output is watched with its colours while a task runs, line by line, as the node sends it', async () => {
  const s = session();
  const asked: string[] = [];
  const note = (request: Request) => {
    if (request.url().includes('/output')) asked.push(new URL(request.url()).search);
  };
  s.page.on('request', note);
  const [second, last] = [new Gate(), new Gate()];
  const line = (number: number) => String.raw`printf '\033[32mline ${String(number)}\033[0m\n'`;
  const script = `${line(1)}; ${second.wait}; ${line(2)}; ${last.wait}; echo finished`;
  await s.task('count.slowly', { action: shell(script) });
  await s.open('/tasks/count.slowly');
  await s.button('Run now').click();
  await s.page.getByRole('table', { name: 'Executions' }).getByRole('link').first().click();
  const output = s.page.getByRole('log', { name: 'Output' });
  await output.getByText('line 1').waitFor({ timeout: SLOW_MS });
  expect(await output.getByText('line 1').evaluate((span) => getComputedStyle(span).color)).toBe('rgb(107, 196, 109)');
  expect(await output.innerText()).not.toContain('line 2');
  second.open();
  await output.getByText('line 2').waitFor({ timeout: SLOW_MS });
  expect(await output.innerText()).not.toContain('finished');
  expect(asked).toEqual(['?follow=true']);
  last.open();
  await output.getByText('finished').waitFor({ timeout: SLOW_MS });
  await s.seen('Succeeded');
  await s.seen('Start to end');
  s.page.off('request', note);
});

test('output is asked for where no events come', async () => {
  const s = session();
  await s.page.route('**/output?follow=true*', (route) => route.abort());
  const gate = new Gate();
  await s.task('count.polled', { action: shell(`echo row 1; ${gate.wait}; echo finished`) });
  await s.open('/tasks/count.polled');
  await s.button('Run now').click();
  await s.page.getByRole('table', { name: 'Executions' }).getByRole('link').first().click();
  const output = s.page.getByRole('log', { name: 'Output' });
  await output.getByText('row 1').waitFor({ timeout: SLOW_MS });
  expect(await output.innerText()).not.toContain('finished');
  gate.open();
  await output.getByText('finished').waitFor({ timeout: SLOW_MS });
  await s.page.unroute('**/output?follow=true*');
});

test('a running execution is cancelled, and run again', async () => {
  const s = session();
  await s.task('to-cancel', { action: shell('sleep 120') });
  await s.open('/tasks/to-cancel');
  await s.button('Run now').click();
  await s.page.getByRole('table', { name: 'Executions' }).getByRole('link').first().click();
  await s.button('Cancel').click();
  await s.page.getByText('Cancelled', { exact: true }).first().waitFor({ timeout: SLOW_MS });
  const before = s.page.url();
  await s.button('Run again').click();
  await s.page.waitForURL((url) => url.href !== before);
  await s.button('Cancel').click();
});

test('the log of executed tasks has their times and states', async () => {
  const s = session();
  await s.task('logged.well');
  await s.task('logged.badly', { action: shell('echo no such file >&2; exit 4') });
  await s.run('logged.well');
  await s.run('logged.badly');
  await s.open('/executions?state=failed&task=logged.badly');
  const table = s.page.getByRole('table', { name: 'Executions' });
  await table.getByRole('link', { name: 'logged.badly' }).first().waitFor();
  expect(await table.getByText('Succeeded').count()).toBe(0);
  expect(await table.getByRole('row').nth(1).innerText()).toMatch(/\d\d:\d\d:\d\d[\s\S]*exit 4/);
  await s.open('/executions');
  await table.getByRole('link', { name: 'logged.well' }).first().waitFor();
});

test('the ledger tells what was decided', async () => {
  const s = session();
  await s.task('decided');
  await s.run('decided');
  await s.open('/tasks/decided?tab=ledger');
  await s.page.getByRole('table', { name: 'Ledger' }).getByText('Ran').waitFor();
});

test('an execution that was tried again shows each attempt', async () => {
  const s = session();
  const retry = { maxAttempts: 2, initialBackoff: '0.1s' };
  const script = 'echo "words of attempt $RAFTSCHED_ATTEMPT"; test "$RAFTSCHED_ATTEMPT" = 2 || exit 5';
  await s.task('tried-twice', { retry, action: shell(script) });
  const id = await s.run('tried-twice');
  await s.open(`/executions/${id}`);
  const attempts = s.page.getByRole('table', { name: 'Attempts' });
  await attempts.getByText('exit 5').waitFor();
  await attempts.getByText('words of attempt 1').waitFor();
  await s.page.getByText('words of attempt 2').waitFor();
  await s.page.getByRole('list', { name: 'Timing' }).getByText('Wait before attempt 2').waitFor();
});

test('output is downloaded as a file, and copied without its colours', async () => {
  const s = session();
  await s.task('writes', { action: shell(String.raw`printf '\033[31mred\033[0m\nplain\n'`) });
  const id = await s.run('writes');
  await s.open(`/executions/${id}`);
  await s.page.getByRole('log', { name: 'Output' }).getByText('plain').waitFor();
  const downloading = s.page.waitForEvent('download');
  await s.page.getByRole('link', { name: 'Download' }).click();
  const download = await downloading;
  expect(download.suggestedFilename()).toBe(`writes-${id}.txt`);
  expect(readFileSync(await download.path(), 'utf8')).toBe('\u001b[31mred\u001b[0m\nplain\n');
  await s.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await s.button('Copy').click();
  await s.button('Copied').waitFor();
  expect((await s.page.evaluate(() => navigator.clipboard.readText())).trimEnd()).toBe('red\nplain');
});

test('on a narrow screen a list of executions keeps the reason', async () => {
  const s = session();
  await s.task('narrow.failure', { action: shell('exit 9') });
  await s.run('narrow.failure');
  await s.page.setViewportSize({ width: 390, height: 800 });
  try {
    await s.open('/executions?task=narrow.failure');
    const table = s.page.getByRole('table', { name: 'Executions' });
    await table.getByText('exit 9').filter({ visible: true }).waitFor();
  } finally {
    await s.page.setViewportSize({ width: 1280, height: 800 });
  }
});
