/** The calls of the API that the pages use, one function each. All throw Problem. */
import type { BackfillRange } from '../lib/backfill.ts';
import { nextRows } from '../lib/paging.ts';
import { ask, change, get, read, withQuery, type Query } from './http.ts';
import type {
  Attempt,
  AttemptList,
  Backfill,
  BackfilledTime,
  Calendar,
  ClusterStatus,
  DayCount,
  DayCounts,
  Execution,
  ExecutionList,
  ExecutionState,
  Group,
  LeadershipTransfer,
  Ledger,
  LedgerEntry,
  LogCounts,
  LogPage,
  LogRecord,
  Page,
  RecentRun,
  RecentRunList,
  Schedule,
  SchedulePreview,
  Task,
  TaskChange,
  TaskChanges,
  TaskCondition,
  TaskDefinition,
  TaskList,
  TaskState,
} from './types.ts';

export interface TaskFilter {
  prefix: string;
  /** Any part of the name, in upper or lower case. */
  search: string;
  /** "key=value", or "key" for any value. */
  labels: string[];
  state: TaskState | '';
  /** Only those that are in need of something. */
  condition?: TaskCondition;
  /** As the API says it; empty: by name. */
  order?: string;
}

export interface ExecutionFilter {
  task?: string;
  states?: ExecutionState[];
  startTime?: string;
  endTime?: string;
}

/** Parameters for "key=value" and "key". */
function labelQuery(labels: readonly string[]): Query {
  return Object.fromEntries(
    labels.map((label) => {
      const at = label.indexOf('=');
      return at < 0 ? [`labels[${label}]`, ''] : [`labels[${label.slice(0, at)}]`, label.slice(at + 1)];
    }),
  );
}

const taskPath = (name: string) => `/v1/tasks/${encodeURIComponent(name)}`;
const executionPath = (id: string) => `/v1/executions/${encodeURIComponent(id)}`;

export async function listTasks(
  filter: TaskFilter,
  pageSize: number,
  pageToken: string,
  signal?: AbortSignal,
): Promise<Page<Task>> {
  const query = {
    pageSize,
    namePrefix: filter.prefix,
    nameContains: filter.search,
    state: filter.state,
    condition: filter.condition,
    orderBy: filter.order,
    ...labelQuery(filter.labels),
  };
  return nextRows(pageToken, async (token) => {
    const answer = await read<TaskList>('/v1/tasks', { ...query, pageToken: token }, signal);
    return { rows: answer.tasks, next: answer.nextPageToken };
  });
}

export async function getTask(name: string, signal?: AbortSignal): Promise<Task> {
  return read<Task>(taskPath(name), {}, signal);
}

export async function createTask(task: TaskDefinition): Promise<Task> {
  return change<Task>('POST', '/v1/tasks', task);
}

/** The task as it would be, with what may not be meant. Nothing is registered. */
export async function checkTask(task: TaskDefinition, signal?: AbortSignal): Promise<Task> {
  return ask<Task>('/v1/tasks?validateOnly=true', task, signal);
}

/** Replace the named top-level fields, if nobody changed the task since `task.etag`. */
export async function updateTask(task: TaskDefinition & { etag: string }, fields: string[]): Promise<Task> {
  return change<Task>('PATCH', withQuery(taskPath(task.name), { updateMask: fields.join(',') }), task);
}

export async function deleteTask(name: string): Promise<void> {
  await change('DELETE', taskPath(name));
}

/** Pause it until somebody resumes it, or until it resumes by itself. */
export async function pauseTask(name: string, resumeTime?: string): Promise<Task> {
  return change<Task>('POST', `${taskPath(name)}:pause`, resumeTime ? { resumeTime } : {});
}

export async function resumeTask(name: string): Promise<void> {
  await change('POST', `${taskPath(name)}:resume`, {});
}

export async function runTask(name: string): Promise<Execution> {
  return change<Execution>('POST', `${taskPath(name)}:run`, {});
}

/** The nominal times of a past range, each with what is on record for it. */
export async function previewBackfill(name: string, range: BackfillRange): Promise<BackfilledTime[]> {
  return (await ask<Backfill>(`${taskPath(name)}:backfill`, { ...range, dryRun: true })).times;
}

/** Run each nominal time of a past range. */
export async function backfillTask(name: string, range: BackfillRange): Promise<BackfilledTime[]> {
  return (await change<Backfill>('POST', `${taskPath(name)}:backfill`, range)).times;
}

const groupPath = (name: string) => `/v1/groups/${encodeURIComponent(name)}`;

/** All of them, by name. */
export async function listGroups(signal?: AbortSignal): Promise<Group[]> {
  return (await read<{ groups: Group[] }>('/v1/groups', {}, signal)).groups;
}

export async function createGroup(group: Group): Promise<void> {
  await change('POST', '/v1/groups', group);
}

/** Replace the limits of a group. */
export async function updateGroup(group: Group): Promise<void> {
  await change('PATCH', withQuery(groupPath(group.name ?? ''), { updateMask: 'maxRunning,maxStarts,period' }), group);
}

export async function deleteGroup(name: string): Promise<void> {
  await change('DELETE', groupPath(name));
}

const calendarPath = (name: string) => `/v1/calendars/${encodeURIComponent(name)}`;

/** All of them, by name, without what they exclude. */
export async function listCalendars(signal?: AbortSignal): Promise<Calendar[]> {
  return (await read<{ calendars: Calendar[] }>('/v1/calendars', {}, signal)).calendars;
}

export async function getCalendar(name: string, signal?: AbortSignal): Promise<Calendar> {
  return read<Calendar>(calendarPath(name), {}, signal);
}

export async function createCalendar(calendar: Calendar): Promise<void> {
  await change('POST', '/v1/calendars', calendar);
}

/** Replace what a calendar excludes, if nobody changed it since `calendar.etag`. */
export async function updateCalendar(calendar: Calendar): Promise<void> {
  await change('PATCH', calendarPath(calendar.name ?? ''), calendar);
}

export async function deleteCalendar(name: string): Promise<void> {
  await change('DELETE', calendarPath(name));
}

/** The next nominal times that a schedule would have, and why it would be refused. Hashed cron fields follow from the name. */
export async function previewSchedule(
  schedule: Schedule,
  count: number,
  taskName: string,
  signal?: AbortSignal,
): Promise<SchedulePreview> {
  return ask<SchedulePreview>('/v1/schedules:preview', { schedule, count, taskName }, signal);
}

/** Newest nominal time first. */
export async function listExecutions(
  filter: ExecutionFilter,
  pageSize: number,
  pageToken: string,
  signal?: AbortSignal,
): Promise<Page<Execution>> {
  return nextRows(pageToken, async (token) => {
    const answer = await read<ExecutionList>('/v1/executions', { pageSize, pageToken: token, ...filter }, signal);
    return { rows: answer.executions, next: answer.nextPageToken };
  });
}

export async function getExecution(id: string, signal?: AbortSignal): Promise<Execution> {
  return read<Execution>(executionPath(id), {}, signal);
}

/** All attempts, oldest first; the largest page holds as many as there can be. */
export async function listAttempts(id: string, signal?: AbortSignal): Promise<Attempt[]> {
  const answer = await read<AttemptList>(`${executionPath(id)}/attempts`, {}, signal);
  return answer.attempts;
}

/** What is kept of the output of an attempt, by default the last, and how many bytes before it are gone. */
export async function getOutput(
  id: string,
  signal?: AbortSignal,
  attempt?: number,
): Promise<{ text: string; truncatedBytes: number }> {
  const response = await get(outputPath(id, attempt), signal);
  const truncatedBytes = Number(response.headers.get('Raftsched-Truncated-Bytes') ?? 0);
  return { text: new TextDecoder().decode(await response.arrayBuffer()), truncatedBytes };
}

/** Where the output of an attempt can be had as a file. */
export function outputPath(id: string, attempt?: number): string {
  return withQuery(`${executionPath(id)}/output`, { attempt });
}

export async function cancelExecution(id: string): Promise<void> {
  await change('POST', `${executionPath(id)}:cancel`, {});
}

/** Oldest first. */
export async function listLedger(
  task: string,
  range: { startTime?: string; endTime?: string },
  pageSize: number,
  pageToken: string,
  signal?: AbortSignal,
): Promise<Page<LedgerEntry>> {
  const answer = await read<Ledger>(`${taskPath(task)}/ledger`, { pageSize, pageToken, ...range }, signal);
  return { rows: answer.entries, next: answer.nextPageToken };
}

export async function getCluster(signal?: AbortSignal): Promise<ClusterStatus> {
  return (await (await get('/v1/cluster', signal)).json()) as ClusterStatus;
}

/** Hand the leadership to a node; to the follower that has caught up best when it is empty. */
export async function transferLeadership(nodeId: string): Promise<string> {
  const answer = await ask<LeadershipTransfer>('/v1/cluster:transferLeadership', { nodeId });
  return answer.leaderId;
}

export interface LogFilter {
  query?: string;
  taskPrefix?: string;
  labels?: string[];
  states?: string[];
  kinds?: string[];
  executorId?: string;
  exitCodes?: string[];
  minDuration?: string;
  startTime?: string;
}

/** What happened, newest first, from the index of the node that answers. */
export async function searchLogs(
  { labels = [], ...filter }: LogFilter,
  pageSize: number,
  pageToken: string,
  signal?: AbortSignal,
): Promise<Page<LogRecord>> {
  const query = { pageSize, pageToken, ...filter, ...labelQuery(labels) };
  const answer = (await (await get(withQuery('/v1/logs', query), signal)).json()) as LogPage;
  return { rows: answer.records, next: answer.nextPageToken };
}

/** How many executions there were per bucket of time, and how late they started. */
export async function countLogs(
  range: { startTime: string; endTime: string; bucket: string; task?: string },
  signal?: AbortSignal,
): Promise<LogCounts> {
  const path = withQuery('/v1/logs:count', { ...range, percentiles: true });
  return (await (await get(path, signal)).json()) as LogCounts;
}

/** How many executions a task had on each day of the last year, in a zone. */
export async function countDays(task: string, timeZone: string, signal?: AbortSignal): Promise<DayCount[]> {
  const response = await get(withQuery(`${taskPath(task)}/days`, { timeZone }), signal);
  return ((await response.json()) as DayCounts).days;
}

/** The definitions that a task had, newest first. */
export async function listChanges(task: string, pageToken: string, signal?: AbortSignal): Promise<Page<TaskChange>> {
  const response = await get(withQuery(`${taskPath(task)}/changes`, { pageSize: 50, pageToken }), signal);
  const answer = (await response.json()) as TaskChanges;
  return { rows: answer.changes, next: answer.nextPageToken };
}

/** A path may have 8 KiB; names may have 200 characters. */
const NAMES_PER_CALL = 30;

/** The last executions of each of many tasks, newest first. */
export async function listRecentRuns(
  tasks: readonly string[],
  perTask: number,
  signal?: AbortSignal,
): Promise<Map<string, RecentRun[]>> {
  const parts = Array.from({ length: Math.ceil(tasks.length / NAMES_PER_CALL) }, (_, index) =>
    tasks.slice(index * NAMES_PER_CALL, (index + 1) * NAMES_PER_CALL),
  );
  const answers = await Promise.all(
    parts.map(async (names) => {
      const response = await get(withQuery('/v1/logs:recentRuns', { tasks: names, perTask }), signal);
      return ((await response.json()) as RecentRunList).tasks;
    }),
  );
  return new Map(answers.flat().map(({ task, runs }) => [task ?? '', runs ?? []]));
}
