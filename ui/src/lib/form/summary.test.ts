import { expect, it } from 'vitest';
import { FAILURE, OVERLAP, PLACE } from './fields.ts';
import { emptyForm, isShown } from './form.ts';
import { setWords } from './summary.ts';

it('says nothing of an empty form', () => {
  const form = emptyForm('UTC');
  const fields = [...FAILURE, ...OVERLAP, ...PLACE].filter((field) => isShown(field, form));
  expect(setWords(fields, form)).toEqual([]);
});

it('names what is set as the form names it, cut where it is long', () => {
  const form = emptyForm('UTC');
  Object.assign(form.values, {
    overlapPolicy: 'OVERLAP_POLICY_QUEUE',
    maxQueued: '3',
    retry: true,
    executorLabels: [
      { key: 'zone', value: 'c' },
      { key: 'gpu', value: '' },
    ],
    group: 'a'.repeat(60),
  });
  expect(setWords(OVERLAP, form)).toEqual(['Overlap: Queue', 'Waiting at most: 3']);
  expect(setWords([...FAILURE.slice(0, 3), ...PLACE], form)).toEqual([
    'Try again when an attempt fails',
    'Executor labels: zone c, gpu',
    `Group: ${'a'.repeat(40)}…`,
  ]);
});
