import { describe, expect, it } from 'vitest';
import type { Task } from '../api/types.ts';
import { toBase64 } from './bytes.ts';
import { binaryFields, changedFields, emptyForm, formOf, placeViolations, taskOf } from './taskForm.ts';

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
    expect(changedFields(form, { ...form, timeLimit: '', commandLine: 'true' }, task)).toEqual(['action', 'timeLimit']);
  });

  it('keeps bytes that are not text as they are', () => {
    const task: Task = {
      name: 'b',
      schedule: { at: '2026-01-01T00:00:00Z' },
      action: { command: { argv: ['cat'], stdin: '//4A' } },
    };
    expect(binaryFields(task)).toEqual(['stdin']);
    expect(taskOf(formOf(task, ZONE), task).task.action?.command?.stdin).toBe('//4A');
  });

  it('says which fields cannot be read', () => {
    const form = {
      ...emptyForm(ZONE),
      scheduleKind: 'interval' as const,
      every: 'often',
      commandLine: '"open',
      timeLimit: 'x',
      labels: [
        { key: 'a', value: '1' },
        { key: 'a', value: '2' },
      ],
      env: [{ key: '', value: 'lost' }],
    };
    expect(Object.keys(taskOf(form).errors).sort()).toEqual(['commandLine', 'env', 'every', 'labels', 'timeLimit']);
  });
});

it('puts what the server refuses beside the field of the form', () => {
  const form = { ...emptyForm(ZONE), actionKind: 'shell' as const };
  const { errors, rest } = placeViolations(
    [
      { field: 'task.schedule.cron.time_zone', description: 'unknown zone' },
      { field: 'schedule.cron.expression', description: 'bad minute' },
      { field: 'action.command.argv', description: 'is required' },
      { field: 'labels', description: 'too many' },
      { field: 'schedule', description: 'never fires' },
      { field: 'requestId', description: 'odd' },
    ],
    form,
  );
  expect(errors).toEqual({
    cronZone: 'unknown zone',
    cronExpression: 'bad minute; never fires',
    script: 'is required',
    labels: 'too many',
  });
  expect(rest).toEqual(['requestId: odd']);
});
