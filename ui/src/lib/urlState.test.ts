import { describe, expect, it } from 'vitest';
import {
  executionFilter,
  logFilter,
  readExecutionView,
  readLogView,
  readTaskFilter,
  writeExecutionView,
  writeLogView,
  writeTaskFilter,
  type LogView,
} from './urlState.ts';

describe('the filter of tasks', () => {
  it('survives the way through an address', () => {
    const filter = {
      prefix: 'a&b',
      search: 'B c',
      labels: ['team=x y', 'key'],
      state: 'TASK_STATE_PAUSED',
      condition: 'TASK_CONDITION_WAITING',
      order: 'next_fire_time desc',
    } as const;
    const address = writeTaskFilter({ ...filter, labels: [...filter.labels] }).toString();
    expect(readTaskFilter(new URLSearchParams(address))).toEqual(filter);
  });

  it('leaves out what it does not understand', () => {
    expect(readTaskFilter(new URLSearchParams('state=asleep&needs=rest&label==x&label=&other=1&sort=size'))).toEqual({
      prefix: '',
      search: '',
      labels: [],
      state: '',
    });
  });

  it('is an empty address when nothing is filtered', () => {
    expect(writeTaskFilter({ prefix: '', search: '', labels: [], state: '' }).toString()).toBe('');
  });
});

describe('the view of executions', () => {
  it('survives the way through an address', () => {
    const text = 'task=backup.db&state=failed&state=timed_out&since=6h';
    const view = readExecutionView(new URLSearchParams(text));
    expect(view.states).toEqual(['EXECUTION_STATE_FAILED', 'EXECUTION_STATE_TIMED_OUT']);
    expect(writeExecutionView(view).toString()).toBe(text);
  });

  it('asks for the same range for a whole minute', () => {
    const view = { task: '', states: [], since: '1h' };
    const early = executionFilter(view, Date.parse('2026-11-23T12:00:05Z'));
    expect(early).toEqual({ startTime: '2026-11-23T11:00:00.000Z' });
    expect(executionFilter(view, Date.parse('2026-11-23T12:00:55Z'))).toEqual(early);
  });

  it('takes no inherited name for a range', () => {
    expect(readExecutionView(new URLSearchParams('since=constructor')).since).toBe('');
  });
});

describe('the view of the logs', () => {
  const view: LogView = {
    query: '"connection refused" OR error:timeout',
    prefix: 'data.',
    labels: ['team=ops'],
    states: ['EXECUTION_STATE_FAILED', 'EXECUTION_STATE_LOST'],
    kind: 'execution',
    executor: 'n1',
    exitCodes: ['3', '-9'],
    longerThan: '1m',
    since: '6h',
  };

  it('survives the way through an address', () => {
    expect(readLogView(new URLSearchParams(writeLogView(view).toString()))).toEqual(view);
    expect(writeLogView(readLogView(new URLSearchParams())).toString()).toBe('');
  });

  it('leaves out what it does not understand', () => {
    const odd = readLogView(new URLSearchParams('kind=dream&exit=x&state=asleep&since=ever'));
    expect(odd).toEqual(readLogView(new URLSearchParams()));
  });

  it('asks the API for all of it', () => {
    expect(logFilter(view, 86_400_000)).toEqual({
      query: '"connection refused" OR error:timeout',
      taskPrefix: 'data.',
      labels: ['team=ops'],
      states: ['EXECUTION_STATE_FAILED', 'EXECUTION_STATE_LOST'],
      kinds: ['LOG_KIND_EXECUTION'],
      executorId: 'n1',
      exitCodes: ['3', '-9'],
      minDuration: '60s',
      startTime: '1970-01-01T18:00:00.000Z',
    });
  });
});
