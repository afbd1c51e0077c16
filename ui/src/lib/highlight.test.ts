import { expect, it } from 'vitest';
import { highlight, searchedWords } from './highlight.ts';

it.each([
  ['connection refused', ['connection', 'refused']],
  ['"permission denied" OR error:timeout', ['permission', 'denied', 'timeout']],
  ['failed NOT dns', ['failed']],
  ['refus* NOT "no route"', ['refus']],
  ['10.0.0.1:80', ['10', '0', '1', '80']],
  ['', []],
])('finds the words of %j', (query, words) => {
  expect(searchedWords(query)).toEqual(words);
});

it('marks what was looked for, in any case', () => {
  expect(highlight('psql: Connection refused', 'connection refused')).toEqual([
    { text: 'psql: ', hit: false },
    { text: 'Connection', hit: true },
    { text: ' ', hit: false },
    { text: 'refused', hit: true },
  ]);
});

it('leaves a text whole when nothing was looked for', () => {
  expect(highlight('a.b', '')).toEqual([{ text: 'a.b', hit: false }]);
});
