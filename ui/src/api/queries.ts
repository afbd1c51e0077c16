import { keepPreviousData, useQuery, type UseQueryResult } from '@tanstack/react-query';
import { executionFilter, logFilter, type ExecutionView, type LogView } from '../lib/urlState.ts';
import * as calls from './calls.ts';
import { rememberNodes } from './knownNodes.ts';
import { POLL_MS, usePollMs } from './live.ts';
import type { ClusterStatus, Execution, LedgerEntry, LogRecord, Page, RecentRun, Task } from './types.ts';

const CLUSTER_POLL_MS = 2000;
const WAIT_POLL_MS = 3000;
/** The largest page that the API gives. */
export const LARGEST_PAGE = 1000;

export function useCluster(): UseQueryResult<ClusterStatus> {
  return useQuery({
    queryKey: ['cluster'],
    queryFn: async ({ signal }) => {
      const status = await calls.getCluster(signal);
      rememberNodes(status);
      return status;
    },
    refetchInterval: CLUSTER_POLL_MS,
  });
}

export function useTasks(filter: calls.TaskFilter, pageSize: number, pageToken: string): UseQueryResult<Page<Task>> {
  const refetchInterval = usePollMs();
  return useQuery({
    queryKey: ['tasks', filter, pageSize, pageToken],
    queryFn: ({ signal }) => calls.listTasks(filter, pageSize, pageToken, signal),
    placeholderData: keepPreviousData,
    refetchInterval,
  });
}

export function useTask(name: string): UseQueryResult<Task> {
  const refetchInterval = usePollMs();
  return useQuery({
    queryKey: ['task', name],
    queryFn: ({ signal }) => calls.getTask(name, signal),
    // That a task resumes by itself, or that something waits too long, is no event of an execution.
    refetchInterval: ({ state }) =>
      state.data?.paused && state.data.resumeTime ? POLL_MS : Math.min(refetchInterval, WAIT_POLL_MS),
  });
}

/** One page of executions. The range is counted from the moment of each request. */
export function useExecutions(view: ExecutionView, pageSize: number, pageToken = ''): UseQueryResult<Page<Execution>> {
  const refetchInterval = usePollMs();
  return useQuery({
    queryKey: ['executions', view, pageSize, pageToken],
    queryFn: ({ signal }) => calls.listExecutions(executionFilter(view, Date.now()), pageSize, pageToken, signal),
    placeholderData: keepPreviousData,
    // A page token belongs to the filter it came from, whose range must not move.
    refetchInterval: pageToken && view.since ? false : refetchInterval,
  });
}

export function useExecution(id: string): UseQueryResult<Execution> {
  const refetchInterval = usePollMs();
  return useQuery({
    queryKey: ['execution', id],
    queryFn: ({ signal }) => calls.getExecution(id, signal),
    // What it waits for changes without an event of its own.
    refetchInterval: ({ state }) =>
      state.data?.endTime ? false : state.data?.startTime ? refetchInterval : Math.min(refetchInterval, WAIT_POLL_MS),
  });
}

export function useLedger(
  task: string,
  startTime: string,
  pageSize: number,
  pageToken: string,
): UseQueryResult<Page<LedgerEntry>> {
  return useQuery({
    queryKey: ['ledger', task, startTime, pageSize, pageToken],
    queryFn: ({ signal }) => calls.listLedger(task, { startTime }, pageSize, pageToken, signal),
    placeholderData: keepPreviousData,
  });
}

/** What the index of the node holds; asked again as seldom as the address allows, since a search is work. */
export function useLogs(view: LogView, pageSize: number, pageToken: string): UseQueryResult<Page<LogRecord>> {
  return useQuery({
    queryKey: ['logs', view, pageSize, pageToken],
    queryFn: ({ signal }) => calls.searchLogs(logFilter(view, Date.now()), pageSize, pageToken, signal),
    placeholderData: keepPreviousData,
    retry: false,
    refetchInterval: pageToken ? false : 10_000,
  });
}

/** The last runs of the tasks that are shown. */
export function useRecentRuns(tasks: readonly string[], perTask: number): UseQueryResult<Map<string, RecentRun[]>> {
  const refetchInterval = usePollMs();
  return useQuery({
    queryKey: ['recentRuns', tasks, perTask],
    queryFn: ({ signal }) => calls.listRecentRuns(tasks, perTask, signal),
    enabled: tasks.length > 0,
    placeholderData: keepPreviousData,
    refetchInterval,
  });
}
