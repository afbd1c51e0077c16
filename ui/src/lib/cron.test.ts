import { expect, it } from 'vitest';
import { cronFields, cronInWords } from './cron.ts';

it.each([
  ['*/5 * * * *', 'Every 5 minutes'],
  ['30 2 * * 1-5', 'At 02:30, Monday through Friday'],
  ['*/10 * * * * *', 'Every 10 seconds'],
  ['@daily', 'At 00:00'],
  ['@midnight', 'At 00:00'],
  ['@annually', 'At 00:00, on day 1 of the month, only in January'],
  ['0 12 * * L5', 'At 12:00, on the last Friday of the month'],
  ['0 12 * * 5#2', 'At 12:00, on the second Friday of the month'],
  ['0 0 13 * 5', 'At 00:00, on day 13 of the month, or on Friday'],
  ['0 0 */2 * 5', 'At 00:00, every 2 days in a month, only on Friday'],
  ['H H * * *', 'Minute and hour follow from the name of the task'],
  ['H 3 * * *', 'Minute follows from the name of the task'],
  ['0 0 ? * fri-mon', 'At 00:00, Friday through Monday'],
])('says %s in words', (expression, words) => {
  expect(cronInWords(expression)).toBe(words);
});

it.each(['', '* * * *', '61 * * * *', 'every day at noon', '* * * * * * *', '@sometimes'])(
  'has no words for %j',
  (text) => {
    expect(cronInWords(text)).toBeNull();
  },
);

it('names the fields of an expression', () => {
  expect(cronFields('0 9 * * 1')?.map(({ name, text }) => `${name} ${text}`)).toEqual([
    ...['minute 0', 'hour 9', 'day *', 'month *', 'weekday 1'],
  ]);
  expect(cronFields('0 0 9 * * 1')?.[0]).toEqual({ name: 'second', text: '0' });
  expect(cronFields('@daily')).toBeNull();
});
