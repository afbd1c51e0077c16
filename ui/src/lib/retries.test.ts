import { describe, expect, it } from 'vitest';
import { Retries } from './retries.ts';

function retries(random: number): { clock: { ms: number }; retries: Retries } {
  const clock = { ms: 0 };
  return {
    clock,
    retries: new Retries(
      1000,
      10_000,
      () => clock.ms,
      () => random,
    ),
  };
}

describe('waits between tries', () => {
  it('double up to the longest', () => {
    const made = retries(0).retries;
    expect([1, 2, 3, 4, 5, 6].map(() => made.failed())).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  it('are up to a half shorter by chance', () => {
    expect(retries(0.5).retries.failed()).toBe(750);
  });

  it('go on growing while what begins does not last, and start anew when it does', () => {
    const { clock, retries: made } = retries(0);
    const waits = [0, 9_999, 10_000].map((livedMs) => {
      made.began();
      clock.ms += livedMs;
      return made.failed();
    });
    expect(waits).toEqual([1000, 2000, 1000]);
  });
});
