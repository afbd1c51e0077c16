import { expect, it } from 'vitest';
import type { Execution } from '../api/types.ts';
import { failuresByTask } from './failures.ts';

it('puts failures together by task, that which failed last first', () => {
  const failed = (id: string, task: string) => ({ id, task }) as Execution;
  const rows = [failed('5', 'b'), failed('4', 'a'), failed('3', 'b'), failed('2', 'b')];
  expect(failuresByTask(rows).map(({ task, count, latest }) => [task, count, latest.id])).toEqual([
    ['b', 3, '5'],
    ['a', 1, '4'],
  ]);
  expect(failuresByTask([])).toEqual([]);
});
