import { expect, it } from 'vitest';
import { cronInWords } from './cron.ts';

it.each([
  ['*/5 * * * *', 'Every 5 minutes'],
  ['30 2 * * 1-5', 'At 02:30, Monday through Friday'],
  ['*/10 * * * * *', 'Every 10 seconds'],
  ['@daily', 'At 00:00'],
  ['@midnight', 'At 00:00'],
  ['@annually', 'At 00:00, on day 1 of the month, only in January'],
])('says %s in words', (expression, words) => {
  expect(cronInWords(expression)).toBe(words);
});

it.each(['', '* * * *', '61 * * * *', 'every day at noon', '* * * * * * *', '@sometimes'])(
  'has no words for %j',
  (text) => {
    expect(cronInWords(text)).toBeNull();
  },
);
