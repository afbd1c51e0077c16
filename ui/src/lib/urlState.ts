import type { ExecutionFilter, LogFilter, TaskFilter } from '../api/calls.ts';
import { parseDurationMs, toProtoDuration } from './duration.ts';
import { EXECUTION_STATES, type ExecutionState, type TaskCondition, type TaskState } from '../api/types.ts';

const TASK_STATES: Record<string, TaskState> = {
  active: 'TASK_STATE_ACTIVE',
  paused: 'TASK_STATE_PAUSED',
  finished: 'TASK_STATE_FINISHED',
};

const CONDITIONS: Record<string, TaskCondition> = {
  failing: 'TASK_CONDITION_FAILING',
  waiting: 'TASK_CONDITION_WAITING',
};

/** "EXECUTION_STATE_TIMED_OUT" is "timed_out" in an address. */
export function shortState(state: string | undefined): string {
  return (state ?? '').replace(/^(EXECUTION|TASK|EXECUTOR)_STATE_/, '').toLowerCase();
}

function isOrder(text: string | null): boolean {
  return text !== null && ['name desc', 'next_fire_time', 'next_fire_time desc'].includes(text);
}

/** Which tasks an address asks for; what it does not understand is left out. */
export function readTaskFilter(parameters: URLSearchParams): TaskFilter {
  const condition = CONDITIONS[parameters.get('needs') ?? ''];
  return {
    prefix: parameters.get('prefix') ?? '',
    search: parameters.get('search') ?? '',
    labels: parameters.getAll('label').filter((label) => label !== '' && !label.startsWith('=')),
    state: TASK_STATES[parameters.get('state') ?? ''] ?? '',
    ...(condition ? { condition } : {}),
    ...(isOrder(parameters.get('sort')) ? { order: parameters.get('sort') ?? '' } : {}),
  };
}

/** The inverse of readTaskFilter. A page token is not part of it: another filter starts at the first page. */
export function writeTaskFilter(filter: TaskFilter): URLSearchParams {
  const parameters = new URLSearchParams();
  if (filter.prefix) parameters.set('prefix', filter.prefix);
  if (filter.search) parameters.set('search', filter.search);
  for (const label of filter.labels) parameters.append('label', label);
  if (filter.state) parameters.set('state', shortState(filter.state));
  const needs = Object.keys(CONDITIONS).find((each) => CONDITIONS[each] === filter.condition);
  if (needs) parameters.set('needs', needs);
  if (filter.order) parameters.set('sort', filter.order);
  return parameters;
}

/** Ranges that the executions page offers, in milliseconds. */
export const RANGES_MS: Record<string, number> = {
  '15m': 900_000,
  '1h': 3_600_000,
  '6h': 21_600_000,
  '24h': 86_400_000,
  '7d': 604_800_000,
};

export interface ExecutionView {
  task: string;
  states: ExecutionState[];
  /** A key of RANGES_MS, or empty for all that is kept. */
  since: string;
}

/** Which executions an address asks for; what it does not understand is left out. */
export function readExecutionView(parameters: URLSearchParams): ExecutionView {
  const wanted = parameters.getAll('state');
  const since = parameters.get('since') ?? '';
  return {
    task: parameters.get('task') ?? '',
    states: EXECUTION_STATES.filter((state) => wanted.includes(shortState(state))),
    since: Object.hasOwn(RANGES_MS, since) ? since : '',
  };
}

/** The inverse of readExecutionView. */
export function writeExecutionView(view: ExecutionView): URLSearchParams {
  const parameters = new URLSearchParams();
  if (view.task) parameters.set('task', view.task);
  for (const state of view.states) parameters.append('state', shortState(state));
  if (view.since) parameters.set('since', view.since);
  return parameters;
}

/** What to ask the API for. The range is cut to whole minutes, so that pages of one view share a filter. */
export function executionFilter(view: ExecutionView, nowMs: number): ExecutionFilter {
  const range = RANGES_MS[view.since];
  return {
    ...(view.task ? { task: view.task } : {}),
    ...(view.states.length ? { states: view.states } : {}),
    ...(range ? { startTime: new Date(Math.floor((nowMs - range) / 60_000) * 60_000).toISOString() } : {}),
  };
}

export interface LogView {
  query: string;
  prefix: string;
  labels: string[];
  states: ExecutionState[];
  /** What kinds of records; empty for executions and decisions. */
  kind: '' | 'execution' | 'decision' | 'task_change';
  executor: string;
  exitCodes: string[];
  /** A length of time as it was typed. */
  longerThan: string;
  since: string;
}

const LOG_KINDS = ['execution', 'decision', 'task_change'] as const;

/** Which records an address asks for; what it does not understand is left out. */
export function readLogView(parameters: URLSearchParams): LogView {
  const kind = LOG_KINDS.find((each) => each === parameters.get('kind')) ?? '';
  const { states, since } = readExecutionView(parameters);
  return {
    query: parameters.get('q') ?? '',
    prefix: parameters.get('task') ?? '',
    labels: readTaskFilter(parameters).labels,
    states,
    kind,
    executor: parameters.get('executor') ?? '',
    exitCodes: parameters.getAll('exit').filter((code) => /^-?\d{1,9}$/.test(code)),
    longerThan: parameters.get('longer') ?? '',
    since,
  };
}

/** The inverse of readLogView. */
export function writeLogView(view: LogView): URLSearchParams {
  const parameters = new URLSearchParams();
  const texts = { q: view.query, task: view.prefix, kind: view.kind, executor: view.executor, longer: view.longerThan };
  for (const [key, value] of Object.entries(texts)) if (value) parameters.set(key, value);
  for (const label of view.labels) parameters.append('label', label);
  for (const state of view.states) parameters.append('state', shortState(state));
  for (const code of view.exitCodes) parameters.append('exit', code);
  if (view.since) parameters.set('since', view.since);
  return parameters;
}

/** What to ask the API for. */
export function logFilter(view: LogView, nowMs: number): LogFilter {
  const longer = view.longerThan ? parseDurationMs(view.longerThan) : null;
  return {
    ...executionFilter({ task: '', states: view.states, since: view.since }, nowMs),
    ...(view.query ? { query: view.query } : {}),
    ...(view.prefix ? { taskPrefix: view.prefix } : {}),
    labels: view.labels,
    ...(view.kind ? { kinds: [`LOG_KIND_${view.kind.toUpperCase()}`] } : {}),
    ...(view.executor ? { executorId: view.executor } : {}),
    ...(view.exitCodes.length ? { exitCodes: view.exitCodes } : {}),
    ...(longer === null ? {} : { minDuration: toProtoDuration(longer) }),
  };
}
