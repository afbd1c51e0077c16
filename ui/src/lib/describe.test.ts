import { expect, it } from 'vitest';
import type { Action, Task } from '../api/types.ts';
import { actionWords, simpleFacts } from './describe.ts';
import { ACTION } from './form/fields.ts';

const task = {
  name: 't',
  owner: 'Team A',
  jitter: '90s',
  priority: -3,
  paused: true,
  placement: 'PLACEMENT_EVERY',
  delivery: 'DELIVERY_AT_LEAST_ONCE',
} as Task;

it('says what is set and differs from the default, as each field is', () => {
  expect(simpleFacts(task, new Set(['paused']))).toEqual([
    ['Owner', 'Team A'],
    ['Placement', 'Every one'],
    ['Priority', '-3'],
    ['Jitter', '1 min 30 s'],
  ]);
});

it('says nothing of a task that sets nothing', () => {
  expect(simpleFacts({ name: 't' } as Task, new Set())).toEqual([]);
});

const OF_EACH_KIND: { [Kind in keyof Action]-?: NonNullable<Action[Kind]> } = {
  command: { argv: ['true'] },
  http: { url: 'http://host/' },
  python: { callable: 'm:f' },
  noop: {},
  grpc: { target: 'host:1', method: 'p.S/M' },
  awsLambda: { function: 'f' },
  container: { image: 'i' },
  extension: { kind: 'fax' },
};

it.each(Object.entries(OF_EACH_KIND))('has words and a part of the form for an action of the kind %s', (kind, of) => {
  expect(actionWords({ [kind]: of }).kind === 'No operation').toBe(kind === 'noop');
  expect(ACTION.variants.map(({ value }) => value)).toContain(kind);
});
