import type { Execution } from '../api/types.ts';

/** The failures of one task among those looked at. */
export interface TaskFailures {
  task: string;
  count: number;
  latest: Execution;
}

/** Failures, newest first, put together by task: the task that failed last comes first. */
export function failuresByTask(failures: readonly Execution[]): TaskFailures[] {
  const found = new Map<string, TaskFailures>();
  for (const execution of failures) {
    const of = found.get(execution.task);
    if (of) of.count += 1;
    else found.set(execution.task, { task: execution.task, count: 1, latest: execution });
  }
  return [...found.values()];
}
