import { expect, it } from 'vitest';
import type { Execution } from '../api/types.ts';
import { calendar, latenessMs, perMinute, runMs, timingSteps, yearOfDays } from './stats.ts';

const base = { id: 'x', task: 't' } as Execution;
const at = (nominalTime: string, more: Partial<Execution> = {}): Execution => ({ ...base, nominalTime, ...more });

it('puts the counts of the server into minutes, those that it leaves out too', () => {
  const counts = [
    { state: 'EXECUTION_STATE_SUCCEEDED' as const, count: '7' },
    { state: 'EXECUTION_STATE_LOST' as const, count: '2' },
    { state: 'EXECUTION_STATE_TIMED_OUT' as const, count: '1' },
    { state: 'EXECUTION_STATE_RUNNING' as const, count: '3' },
  ];
  const buckets = perMinute(
    [{ startTime: '2026-11-23T12:00:00Z', counts, lateness: { count: '7', max: '0.500s' } }],
    Date.parse('2026-11-23T12:01:30Z'),
    3,
  );
  expect(buckets.map(({ succeeded, failed, other, latenessMs: late }) => [succeeded, failed, other, late])).toEqual([
    [0, 0, 0, undefined],
    [7, 3, 3, 500],
    [0, 0, 0, undefined],
  ]);
});

it('lays the days of a year out in weeks that end with the present one', () => {
  const failed = [{ state: 'EXECUTION_STATE_FAILED' as const, count: '2' }];
  const weeks = yearOfDays([{ date: '2026-11-24', counts: failed }], 'UTC', Date.parse('2026-11-25T10:00:00Z'), 53);
  expect(weeks).toHaveLength(53);
  expect(weeks[52]?.map((day) => day?.date.slice(5))).toEqual([
    ...['11-23', '11-24', '11-25', undefined, undefined, undefined, undefined],
  ]);
  expect(weeks[52]?.[1]).toEqual({ date: '2026-11-24', total: 2, failed: 2 });
  expect(weeks[0]?.[0]?.date).toBe('2025-11-24');
});

it('shows each attempt and the waits before them', () => {
  const execution = at('2026-11-23T12:00:00Z', {
    state: 'EXECUTION_STATE_SUCCEEDED',
    attempt: 2,
    fireTime: '2026-11-23T12:00:00.1Z',
    pastAttempts: [
      {
        attempt: 1,
        state: 'EXECUTION_STATE_FAILED',
        executorId: 'n1',
        error: '',
        startTime: '2026-11-23T12:00:00.2Z',
        endTime: '2026-11-23T12:00:01Z',
      },
    ],
    startTime: '2026-11-23T12:00:03Z',
    endTime: '2026-11-23T12:00:04Z',
  });
  expect(timingSteps(execution, 0).map(({ name, fromMs, toMs }) => [name, (toMs ?? 0) - (fromMs ?? 0)])).toEqual([
    ['Nominal time to decision', 100],
    ['Decision to start', 100],
    ['Attempt 1', 800],
    ['Wait before attempt 2', 2000],
    ['Attempt 2', 1000],
  ]);
});

it('puts executions into the day and hour of the zone, over a clock change', () => {
  const days = calendar(
    [
      at('2026-03-28T23:30:00Z', { state: 'EXECUTION_STATE_SUCCEEDED' }),
      at('2026-03-29T01:30:00Z', { state: 'EXECUTION_STATE_FAILED' }),
    ],
    'Europe/Berlin',
    Date.parse('2026-03-29T22:30:00Z'),
    3,
  );
  expect(days.map((day) => day.date)).toEqual(['2026-03-28', '2026-03-29', '2026-03-30']);
  expect(days[1]?.hours[0]).toEqual({ total: 1, failed: 0 });
  expect(days[1]?.hours[3]).toEqual({ total: 1, failed: 1 });
  expect(days[1]?.hours[2]).toEqual({ total: 0, failed: 0 });
});

it('has no duration before the start, and goes on until the end', () => {
  const now = Date.parse('2026-11-23T12:00:10Z');
  expect(runMs(at('2026-11-23T12:00:00Z'), now)).toBeUndefined();
  const running = at('2026-11-23T12:00:00Z', { state: 'EXECUTION_STATE_RUNNING', startTime: '2026-11-23T12:00:01Z' });
  expect(runMs(running, now)).toBe(9000);
  expect(latenessMs(running)).toBe(1000);
  const past = { attempt: 1, state: 'EXECUTION_STATE_FAILED', executorId: 'n1-0', error: '' } as const;
  const retried = { ...running, pastAttempts: [past, { ...past, startTime: '2026-11-23T12:00:00.500Z' }] };
  expect(latenessMs(retried)).toBe(500);
  expect(runMs({ ...running, state: 'EXECUTION_STATE_LOST' }, now)).toBeUndefined();
});
