import { expect, it } from 'vitest';
import { clockWords } from './clock.ts';

it('says how far a clock is from the agreed time, and on which side', () => {
  const clock = { agreeingNodeIds: ['n1', 'n2'], certain: true };
  expect(clockWords({ ...clock, offset: '90s' })).toBe('Clock 1 min 30 s ahead');
  expect(clockWords({ ...clock, offset: '-2.500s' })).toBe('Clock 2.5 s behind');
  expect(clockWords({ ...clock, offset: '-0.000100s' })).toBe('Clock as agreed');
  expect(clockWords({ ...clock, offset: '0s' })).toBe('Clock as agreed');
  expect(clockWords(clock)).toBe('No time was agreed yet');
  expect(clockWords(undefined)).toBe('No time was agreed yet');
});
