import { describe, expect, it } from 'vitest';
import type { Task } from '../../api/types.ts';
import { toBase64 } from '../bytes.ts';
import { binaryFields, changedFields, emptyForm, formOf, placeViolations, taskOf, type TaskForm } from './form.ts';

const ZONE = 'Europe/Berlin';
const TASKS: Task[] = [
  {
    name: 'command',
    labels: { team: 'data' },
    schedule: { cron: { expression: '0 3 * * *', timeZone: 'Asia/Tokyo' }, startTime: '2026-01-01T00:00:00.000Z' },
    action: {
      command: {
        argv: ['/bin/echo', 'a b', ''],
        shell: false,
        env: { A: '1' },
        workingDirectory: '/tmp',
        stdin: toBase64('ü'),
      },
    },
    timeLimit: '90s',
    paused: true,
    executorLabels: { gpu: 'yes' },
    misfirePolicy: 'MISFIRE_POLICY_ALL',
    misfireThreshold: '30s',
    delivery: 'DELIVERY_AT_MOST_ONCE',
  },
  {
    name: 'shell',
    labels: {},
    schedule: { interval: { every: '1.5s', anchor: '2026-07-01T10:00:00.000Z' }, endTime: '2027-01-01T00:00:00.000Z' },
    action: { command: { argv: ['echo "$1"\n', 'x y'], shell: true, env: {}, workingDirectory: '', stdin: '' } },
    paused: false,
    executorLabels: {},
    misfirePolicy: 'MISFIRE_POLICY_ONE',
    misfireThreshold: '10s',
    delivery: 'DELIVERY_AT_LEAST_ONCE',
  },
  {
    name: 'http',
    labels: {},
    schedule: { at: '2026-07-01T10:00:00.000Z' },
    action: {
      http: {
        method: 'POST',
        url: 'https://example.org/',
        headers: { X: 'y' },
        body: toBase64('{}'),
        expectedStatuses: [200, 409],
      },
    },
    paused: false,
    executorLabels: {},
    misfirePolicy: 'MISFIRE_POLICY_SKIP',
    priority: 3,
    jitter: '5s',
    startDeadline: '60s',
    misfireThreshold: '10s',
    delivery: 'DELIVERY_AT_LEAST_ONCE',
  },
  {
    name: 'python',
    labels: {},
    schedule: { cron: { expression: '@hourly', timeZone: 'UTC' } },
    action: { python: { callable: 'a.b:c', kwargsJson: '{"x": 1}' } },
    paused: false,
    executorLabels: {},
    misfirePolicy: 'MISFIRE_POLICY_ONE',
    misfireThreshold: '10s',
    delivery: 'DELIVERY_AT_LEAST_ONCE',
  },
  {
    name: 'told',
    schedule: {
      interval: { every: '60s' },
      exclusions: [
        { date: '2026-12-25' },
        { date: '2026-12-31', lastDate: '2027-01-01', reason: 'a long night' },
        { startTime: '2026-07-01T10:00:00.000Z', endTime: '2026-07-01T10:30:00.000Z', reason: 'move' },
      ],
    },
    action: { noop: {} },
    group: 'database',
    notifications: {
      url: 'https://example.org/hook',
      occasions: ['OCCASION_FAILURE', 'OCCASION_LATE'],
      lateAfter: '60s',
      signingSecret: 'hook',
      headers: { X: 'y' },
    },
  },
];

describe('the form of a task', () => {
  it.each(TASKS)('gives the same task back: $name', (task) => {
    expect(taskOf(formOf(task, ZONE), task)).toEqual({ task, errors: {} });
  });

  it.each(TASKS)('finds no change where there is none: $name', (task) => {
    const form = formOf(task, ZONE);
    expect(changedFields(form, { ...form }, task)).toEqual([]);
  });

  it('names the fields that were changed', () => {
    const task = TASKS[0] as Task;
    const form = formOf(task, ZONE);
    expect(changedFields(form, typed(form, { timeLimit: '', 'action.command.argv': 'true' }), task)).toEqual([
      'timeLimit',
      'action',
    ]);
  });

  it('keeps bytes that are not text as they are', () => {
    const task: Task = {
      name: 'b',
      schedule: { at: '2026-01-01T00:00:00Z' },
      action: { command: { argv: ['cat'], stdin: '//4A' } },
    };
    expect(binaryFields(task)).toEqual(['action.command.stdin']);
    expect(taskOf(formOf(task, ZONE), task).task.action?.command?.stdin).toBe('//4A');
  });

  it('keeps what it has no field for, and times that it cannot show in full', () => {
    const task = {
      ...(TASKS[0] as Task),
      schedule: { cron: { expression: '@daily', timeZone: 'UTC', novelty: 1 }, startTime: '2026-01-01T00:00:00.123Z' },
      novelty: { a: [1] },
    } as unknown as Task;
    const form = typed(formOf(task, ZONE), { 'schedule.cron.expression': '@hourly' });
    expect(changedFields(formOf(task, ZONE), form, task)).toEqual(['schedule']);
    expect(taskOf(form, task).task).toEqual({
      ...task,
      schedule: { cron: { expression: '@hourly', timeZone: 'UTC', novelty: 1 }, startTime: '2026-01-01T00:00:00.123Z' },
    });
  });

  it('shows a kind that it does not know as JSON', () => {
    const action = { teleport: { to: 'Mars' } };
    const task = { name: 'x', schedule: { at: '2026-01-01T00:00:00Z' }, action } as unknown as Task;
    const form = formOf(task, ZONE);
    expect(form.variants).toEqual({ schedule: 'at', action: 'json' });
    expect(taskOf(form, task).task.action).toEqual(action);
    expect(taskOf(typed(form, { action: '{"noop": {}}' }), task).task.action).toEqual({ noop: {} });
    expect(taskOf(typed(form, { action: '{' }), task).errors.action).toMatch(/not JSON/);
  });

  it('leaves nothing of another kind when the kind is changed', () => {
    const task = TASKS[0] as Task;
    const form = formOf(task, ZONE);
    const other = { ...form, variants: { schedule: 'interval', action: 'http' } };
    const edited = taskOf(typed(other, { 'action.http.url': 'http://x/' }), task).task;
    expect(edited.schedule).toEqual({ interval: { every: '300s' }, startTime: '2026-01-01T00:00:00.000Z' });
    expect(edited.action).toEqual({ http: { method: 'GET', url: 'http://x/' } });
  });

  it('asks for retries as a whole or not at all', () => {
    const task = { ...(TASKS[3] as Task), retry: { maxAttempts: 5, multiplier: 3, exitCodes: [1] } };
    const form = formOf(task, ZONE);
    expect(taskOf(form, task).task.retry).toEqual(task.retry);
    expect(changedFields(form, typed(form, { retry: false }), task)).toEqual(['retry']);
    expect(taskOf(typed(form, { retry: false }), task).task.retry).toBeUndefined();
    expect(taskOf(typed(emptyForm(ZONE), { retry: true })).task.retry).toEqual({ maxAttempts: 3 });
  });

  it('asks for what a notification needs, and only for that', () => {
    const form = typed(emptyForm(ZONE), { notifications: true, 'notifications.occasions': ['OCCASION_MISSING'] });
    expect(Object.keys(taskOf(form).errors)).toEqual(
      expect.arrayContaining(['notifications.url', 'notifications.reportWithin']),
    );
    const told = typed(form, {
      'notifications.url': 'http://x/',
      'notifications.reportWithin': '1h',
      'notifications.lateAfter': '1m',
    });
    expect(taskOf(told).task.notifications).toEqual({
      url: 'http://x/',
      occasions: ['OCCASION_MISSING'],
      reportWithin: '3600s',
    });
    const off = taskOf(typed(told, { notifications: false }));
    expect(off.task.notifications).toBeUndefined();
    expect(Object.keys(off.errors).join(' ')).not.toContain('notifications');
  });

  it('reads what a schedule leaves out from lines', () => {
    const lines = (text: string) => taskOf(typed(emptyForm(ZONE), { 'schedule.exclusions': text }));
    expect(
      lines(' 2026-12-24 .. 2026-12-26  two days \n\n2026-07-01T10:00..2026-07-01T12:00').task.schedule,
    ).toMatchObject({
      exclusions: [
        { date: '2026-12-24', lastDate: '2026-12-26', reason: 'two days' },
        { startTime: '2026-07-01T08:00:00.000Z', endTime: '2026-07-01T10:00:00.000Z' },
      ],
    });
    for (const wrong of ['25.12.2026', '2026-12-24..never', '2026-07-01T10:00']) {
      expect(lines(`2026-01-01\n${wrong}`).errors['schedule.exclusions']).toContain(wrong);
    }
    expect(lines(' \n').task.schedule).not.toHaveProperty('exclusions');
  });

  it('has no schedule when it only runs after other tasks', () => {
    const after = [{ task: 'extract', on: 'CHAIN_CONDITION_SUCCESS' as const }];
    const task: Task = { name: 'load', action: { noop: {} }, after } as unknown as Task;
    const form = formOf(task, ZONE);
    expect(form.variants.schedule).toBe('none');
    expect(taskOf(form, task)).toEqual({ task, errors: {} });
    const failed = typed(form, { after: [{ key: 'extract', value: 'CHAIN_CONDITION_FAILURE' }] });
    expect(taskOf(failed, task).task.after).toEqual([{ task: 'extract', on: 'CHAIN_CONDITION_FAILURE' }]);
  });

  it('has the bounds of overlap only where they mean something', () => {
    const form = typed(emptyForm(ZONE), { maxRunning: '2', maxQueued: '5' });
    expect(taskOf(form).task.maxRunning).toBeUndefined();
    const queue = taskOf(typed(form, { overlapPolicy: 'OVERLAP_POLICY_QUEUE' })).task;
    expect([queue.overlapPolicy, queue.maxRunning, queue.maxQueued]).toEqual(['OVERLAP_POLICY_QUEUE', 2, 5]);
  });

  it('says which fields cannot be read', () => {
    const form = typed(
      { ...emptyForm(ZONE), variants: { schedule: 'interval', action: 'command' } },
      {
        'schedule.interval.every': 'often',
        'action.command.argv': '"open',
        timeLimit: 'x',
        priority: 'high',
        labels: [
          { key: 'a', value: '1' },
          { key: 'a', value: '2' },
        ],
        'action.command.env': [{ key: '', value: 'lost' }],
      },
    );
    expect(Object.keys(taskOf(form).errors).sort()).toEqual([
      ...['action.command.argv', 'action.command.env', 'labels', 'name', 'priority', 'schedule.interval.every'],
      'timeLimit',
    ]);
  });
});

it('puts what the server refuses beside the field of the form', () => {
  const empty = emptyForm(ZONE);
  const form = { ...empty, variants: { ...empty.variants, action: 'shell' } };
  const { errors, rest } = placeViolations(
    [
      { field: 'task.schedule.cron.time_zone', description: 'unknown zone' },
      { field: 'schedule.cron.expression', description: 'bad minute' },
      { field: 'action.command.argv', description: 'is required' },
      { field: 'labels[team]', description: 'too many' },
      { field: 'schedule.exclusions[2].date', description: 'is no day' },
      { field: 'schedule', description: 'never fires' },
      { field: 'requestId', description: 'odd' },
    ],
    form,
  );
  expect(errors).toEqual({
    'schedule.cron.timeZone': 'unknown zone',
    'schedule.cron.expression': 'bad minute; never fires',
    'action.command.script': 'is required',
    labels: 'too many',
    'schedule.exclusions': 'number 3: is no day',
  });
  expect(rest).toEqual(['requestId: odd']);
});

function typed(form: TaskForm, values: TaskForm['values']): TaskForm {
  return { ...form, values: { ...form.values, ...values } };
}
