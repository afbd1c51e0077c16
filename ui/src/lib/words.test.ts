import { expect, it } from 'vitest';
import { joinWords, splitWords } from './words.ts';

it.each<[string, string[]]>([
  ['echo hello', ['echo', 'hello']],
  [`  sh -c 'a  b' "c \\" d" `, ['sh', '-c', 'a  b', 'c " d']],
  ['a\\ b', ['a b']],
  [`''`, ['']],
  [`x'y'"z"`, ['xyz']],
  ['"a\\nb"', ['a\\nb']],
  ['', []],
])('splits %j as a shell does', (line, words) => {
  expect(splitWords(line)).toEqual(words);
});

it.each(['"open', "it's", 'trailing\\'])('refuses %j', (line) => {
  expect(splitWords(line)).toBeNull();
});

it.each([[['a', 'b c', '', "it's", '"', '\\', 'x\ny', '$HOME', '*', 'ü']]])(
  'joins words so that they split again',
  (words) => {
    expect(splitWords(joinWords(words))).toEqual(words);
  },
);
