import { describe, expect, it } from 'vitest';
import { backfillInput, backfillWords, readBackfill } from './backfill.ts';

const TEXTS = { from: '2026-03-28T00:00:00', until: '2026-03-30T00:00:00', atMost: '', atOnce: '' };

describe('readBackfill', () => {
  it('reads a range in the zone of the task, across a clock change', () => {
    expect(readBackfill(TEXTS, 'Europe/Berlin').range).toEqual({
      startTime: '2026-03-27T23:00:00.000Z',
      endTime: '2026-03-29T22:00:00.000Z',
    });
  });

  it('passes limits on where they were typed', () => {
    const { range } = readBackfill({ ...TEXTS, atMost: '500', atOnce: '4' }, 'UTC');
    expect(range).toMatchObject({ maxExecutions: 500, maxRunning: 4 });
  });

  it.each([
    [{ from: '' }, { from: 'This is needed' }],
    [{ until: '' }, { until: 'This is needed' }],
    [{ until: TEXTS.from }, { until: 'This must lie after the beginning' }],
    [{ atOnce: 'two' }, { atOnce: 'Write a whole number' }],
  ])('says what is wrong with %j', (typed, errors) => {
    expect(readBackfill({ ...TEXTS, ...typed }, 'UTC').errors).toEqual(errors);
  });
});

describe('backfillInput', () => {
  it('finds the input of a field in either spelling', () => {
    expect([backfillInput('startTime'), backfillInput('end_time'), backfillInput('name')]).toEqual([
      'from',
      'until',
      undefined,
    ]);
  });
});

describe('backfillWords', () => {
  const free = { nominalTime: '2026-03-28T00:00:00Z' };
  const ran = { ...free, decided: [{ decision: 'DECISION_RAN' as const }] };
  it.each([
    [[free], '1 nominal time, not yet on record'],
    [[ran], '1 nominal time, already on record'],
    [[ran, ran], '2 nominal times, all on record'],
    [[free, ran, free], '3 nominal times, 1 of them on record'],
  ])('counts what is on record: %j', (times, words) => {
    expect(backfillWords(times as never)).toBe(words);
  });
});
