import { expect, it } from 'vitest';
import type { Execution } from '../api/types.ts';
import { calendar, latenessMs, percentile, perMinute, runMs } from './stats.ts';

const base = { id: 'x', task: 't' } as Execution;
const at = (nominalTime: string, more: Partial<Execution> = {}): Execution => ({ ...base, nominalTime, ...more });

it('counts fires per minute of nominal time and leaves out what is older', () => {
  const buckets = perMinute(
    [
      at('2026-11-23T12:00:59.9Z', { state: 'EXECUTION_STATE_SUCCEEDED', startTime: '2026-11-23T12:01:00.4Z' }),
      at('2026-11-23T12:00:00Z', { state: 'EXECUTION_STATE_LOST' }),
      at('2026-11-23T12:01:00Z', { state: 'EXECUTION_STATE_RUNNING' }),
      at('2026-11-23T11:58:59Z', { state: 'EXECUTION_STATE_FAILED' }),
    ],
    Date.parse('2026-11-23T12:01:30Z'),
    3,
  );
  expect(buckets.map(({ succeeded, failed, other, latenessMs: late }) => [succeeded, failed, other, late])).toEqual([
    [0, 0, 0, undefined],
    [1, 1, 0, 500],
    [0, 0, 1, undefined],
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

it('takes percentiles by nearest rank', () => {
  expect(percentile([4, 1, 3, 2], 0.5)).toBe(2);
  expect(percentile([5], 0.99)).toBe(5);
  expect(percentile([], 0.5)).toBeUndefined();
});

it('has no duration before the start, and goes on until the end', () => {
  const now = Date.parse('2026-11-23T12:00:10Z');
  expect(runMs(at('2026-11-23T12:00:00Z'), now)).toBeUndefined();
  const running = at('2026-11-23T12:00:00Z', { state: 'EXECUTION_STATE_RUNNING', startTime: '2026-11-23T12:00:01Z' });
  expect(runMs(running, now)).toBe(9000);
  expect(latenessMs(running)).toBe(1000);
  expect(runMs({ ...running, state: 'EXECUTION_STATE_LOST' }, now)).toBeUndefined();
});
