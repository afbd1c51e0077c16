import { expect, it } from 'vitest';
import { EXECUTION_STATES, type Execution, type ExecutionState } from '../api/types.ts';
import { calendar, isEnded, latenessMs, partOf, perMinute, runMs, tally, timingSteps, yearOfDays } from './stats.ts';

const NONE = { failed: 0, succeeded: 0, running: 0, waiting: 0, cancelled: 0 };
const base = { id: 'x', task: 't' } as Execution;
const at = (nominalTime: string, more: Partial<Execution> = {}): Execution => ({ ...base, nominalTime, ...more });

it('puts the counts of the server into minutes, those that it leaves out too', () => {
  const counts = [
    { state: 'EXECUTION_STATE_SUCCEEDED' as const, count: '7' },
    { state: 'EXECUTION_STATE_LOST' as const, count: '2' },
    { state: 'EXECUTION_STATE_TIMED_OUT' as const, count: '1' },
    { state: 'EXECUTION_STATE_EXPIRED' as const, count: '1' },
    { state: 'EXECUTION_STATE_RUNNING' as const, count: '3' },
    { state: 'EXECUTION_STATE_PENDING' as const, count: '4' },
    { state: 'EXECUTION_STATE_CANCELLED' as const, count: '2' },
  ];
  const buckets = perMinute(
    [{ startTime: '2026-11-23T12:00:00Z', counts, lateness: { count: '7', max: '0.500s' }, lateCount: '4' }],
    Date.parse('2026-11-23T12:02:30Z'),
    4,
  );
  const none = { ...NONE, latenessMs: undefined, unstartedMs: undefined };
  const full = { succeeded: 7, failed: 4, running: 3, waiting: 4, cancelled: 2, latenessMs: 500, unstartedMs: 90_000 };
  const minute = (index: number) => Date.parse('2026-11-23T11:59:00Z') + index * 60_000;
  expect(buckets).toEqual([none, full, none, none].map((each, index) => ({ startMs: minute(index), ...each })));
});

it('counts what waits and what was cancelled as such, and as success only what succeeded', () => {
  const one = (state: ExecutionState) => tally([{ state, count: '1' }]);
  expect(one('EXECUTION_STATE_PENDING')).toEqual({ ...NONE, waiting: 1 });
  expect(one('EXECUTION_STATE_ARMED')).toEqual(NONE);
  expect(one('EXECUTION_STATE_ASSIGNED')).toEqual({ ...NONE, waiting: 1 });
  expect(one('EXECUTION_STATE_CANCELLED')).toEqual({ ...NONE, cancelled: 1 });
  expect(EXECUTION_STATES.filter((state) => partOf(state) === 'succeeded')).toEqual(['EXECUTION_STATE_SUCCEEDED']);
});

it('lays the days of a year out in weeks that end with the present one', () => {
  const failed = [{ state: 'EXECUTION_STATE_FAILED' as const, count: '2' }];
  const weeks = yearOfDays(
    [{ date: '2026-11-24', counts: failed, lateCount: '0' }],
    'UTC',
    Date.parse('2026-11-25T10:00:00Z'),
    53,
  );
  expect(weeks).toHaveLength(53);
  expect(weeks[52]?.map((day) => day?.date.slice(5))).toEqual([
    ...['11-23', '11-24', '11-25', undefined, undefined, undefined, undefined],
  ]);
  expect(weeks[52]?.[1]).toEqual({ date: '2026-11-24', ...NONE, failed: 2 });
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
        outputTail: '',
        outputSizeBytes: '0',
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

it('shows what was decided ahead as waiting for its nominal time, and what is late only from there', () => {
  const armed = at('2026-11-23T12:00:00Z', { state: 'EXECUTION_STATE_ARMED', fireTime: '2026-11-23T11:59:59.100Z' });
  const steps = (execution: Execution, now: string) =>
    timingSteps(execution, Date.parse(now)).map(({ name, fromMs, toMs }) => [
      name,
      fromMs === undefined || toMs === undefined ? undefined : toMs - fromMs,
    ]);
  expect(isEnded(armed)).toBe(false);
  expect(steps(armed, '2026-11-23T11:59:59.500Z')).toEqual([
    ['Decision to nominal time', 900],
    ['Nominal time to start', 0],
    ['Start to end', undefined],
  ]);
  const ended = {
    ...armed,
    state: 'EXECUTION_STATE_SUCCEEDED' as const,
    startTime: '2026-11-23T12:00:00.002Z',
    endTime: '2026-11-23T12:00:00.010Z',
  };
  expect(steps(ended, '2026-11-23T12:00:05Z')).toEqual([
    ['Decision to nominal time', 900],
    ['Nominal time to start', 2],
    ['Start to end', 8],
  ]);
});

it('puts executions into the day and hour of the zone, over a clock change', () => {
  const days = calendar(
    [
      at('2026-03-28T23:30:00Z', { state: 'EXECUTION_STATE_SUCCEEDED' }),
      at('2026-03-29T01:30:00Z', { state: 'EXECUTION_STATE_FAILED' }),
      at('2026-03-29T22:30:01Z', { state: 'EXECUTION_STATE_ARMED' }),
    ],
    'Europe/Berlin',
    Date.parse('2026-03-29T22:30:00Z'),
    3,
  );
  expect(days.map((day) => day.date)).toEqual(['2026-03-28', '2026-03-29', '2026-03-30']);
  expect(days[1]?.hours[0]).toEqual({ ...NONE, succeeded: 1 });
  expect(days[1]?.hours[3]).toEqual({ ...NONE, failed: 1 });
  expect(days[1]?.hours[2]).toEqual(NONE);
});

it('has no duration before the start, and goes on until the end', () => {
  const now = Date.parse('2026-11-23T12:00:10Z');
  expect(runMs(at('2026-11-23T12:00:00Z'), now)).toBeUndefined();
  const running = at('2026-11-23T12:00:00Z', { state: 'EXECUTION_STATE_RUNNING', startTime: '2026-11-23T12:00:01Z' });
  expect(runMs(running, now)).toBe(9000);
  expect(latenessMs(running)).toBe(1000);
  expect(latenessMs({ ...running, firstStartTime: '2026-11-23T12:00:00.500Z' })).toBe(500);
  expect(runMs({ ...running, state: 'EXECUTION_STATE_LOST' }, now)).toBeUndefined();
});
