/** The calls of the API that the pages use, one function each. All throw Problem. */
import { ask, change, get, read, withQuery } from './http.ts';
import type {
  ClusterStatus,
  Execution,
  ExecutionList,
  ExecutionState,
  LeadershipTransfer,
  Ledger,
  LedgerEntry,
  Page,
  Schedule,
  SchedulePreview,
  Task,
  TaskDefinition,
  TaskList,
  TaskState,
} from './types.ts';

export interface TaskFilter {
  prefix: string;
  /** "key=value", or "key" for any value. */
  labels: string[];
  state: TaskState | '';
}

export interface ExecutionFilter {
  task?: string;
  states?: ExecutionState[];
  startTime?: string;
  endTime?: string;
}

const taskPath = (name: string) => `/v1/tasks/${encodeURIComponent(name)}`;
const executionPath = (id: string) => `/v1/executions/${encodeURIComponent(id)}`;

export async function listTasks(
  filter: TaskFilter,
  pageSize: number,
  pageToken: string,
  signal?: AbortSignal,
): Promise<Page<Task>> {
  const labels = Object.fromEntries(
    filter.labels.map((label) => {
      const at = label.indexOf('=');
      return at < 0 ? [`labels[${label}]`, ''] : [`labels[${label.slice(0, at)}]`, label.slice(at + 1)];
    }),
  );
  const answer = await read<TaskList>(
    '/v1/tasks',
    { pageSize, pageToken, namePrefix: filter.prefix, state: filter.state, ...labels },
    signal,
  );
  return { rows: answer.tasks, next: answer.nextPageToken };
}

export async function getTask(name: string, signal?: AbortSignal): Promise<Task> {
  return read<Task>(taskPath(name), {}, signal);
}

export async function createTask(task: TaskDefinition): Promise<Task> {
  return change<Task>('POST', '/v1/tasks', task);
}

/** Replace the named top-level fields, if nobody changed the task since `task.etag`. */
export async function updateTask(task: TaskDefinition & { etag: string }, fields: string[]): Promise<Task> {
  return change<Task>('PATCH', withQuery(taskPath(task.name), { updateMask: fields.join(',') }), task);
}

export async function deleteTask(name: string): Promise<void> {
  await change('DELETE', taskPath(name));
}

export async function pauseTask(name: string): Promise<void> {
  await change('POST', `${taskPath(name)}:pause`, {});
}

export async function resumeTask(name: string): Promise<void> {
  await change('POST', `${taskPath(name)}:resume`, {});
}

export async function runTask(name: string): Promise<Execution> {
  return change<Execution>('POST', `${taskPath(name)}:run`, {});
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
  const answer = await read<ExecutionList>('/v1/executions', { pageSize, pageToken, ...filter }, signal);
  return { rows: answer.executions, next: answer.nextPageToken };
}

export async function getExecution(id: string, signal?: AbortSignal): Promise<Execution> {
  return read<Execution>(executionPath(id), {}, signal);
}

/** What is kept of the output, and how many bytes before it are gone. */
export async function getOutput(id: string, signal?: AbortSignal): Promise<{ text: string; truncatedBytes: number }> {
  const response = await get(`${executionPath(id)}/output`, signal);
  const truncatedBytes = Number(response.headers.get('Raftsched-Truncated-Bytes') ?? 0);
  return { text: new TextDecoder().decode(await response.arrayBuffer()), truncatedBytes };
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
