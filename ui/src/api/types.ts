/**
 * Messages of the API in protobuf's JSON mapping: fields in camelCase; int64 as strings; times as RFC 3339; durations as
 * "1.5s"; bytes as base64. schema.ts is generated from the API's description; here its messages get short names.
 */
import type { components } from './schema.ts';

type Schemas = components['schemas'];
type Known<Enum extends string> = Exclude<Enum, `${string}UNSPECIFIED`>;

export type Task = Schemas['Task'] & { name: string };
/** What a user says of a task, without what the server adds. */
export type TaskDefinition = Omit<
  Task,
  ('uid' | 'etag' | 'generation' | 'state') | ('createTime' | 'updateTime' | 'nextFireTime' | 'lastFireTime')
>;
export type Schedule = Schemas['Schedule'];
export type Action = Schemas['Action'];
export type Execution = Schemas['Execution'];
export type LedgerEntry = Schemas['LedgerEntry'];
export type ClusterStatus = Schemas['GetStatusResponse'];
export type NodeStatus = Schemas['NodeStatus'];
export type ClockStatus = Schemas['ClockStatus'];
export type LinkStatus = Schemas['LinkStatus'];
export type ExecutorStatus = Schemas['ExecutorStatus'];
export type Calendar = Schemas['Calendar'];
export type Group = Schemas['Group'];
export type FieldViolation = Schemas['FieldViolation'];
export type TaskList = Omit<Schemas['ListTasksResponse'], 'tasks'> & { tasks: Task[] };
export type ExecutionList = Schemas['ListExecutionsResponse'];
export type Ledger = Schemas['ListLedgerResponse'];
export type SchedulePreview = Schemas['PreviewScheduleResponse'];
export type BackfilledTime = Schemas['BackfilledTime'];
export type Backfill = Schemas['BackfillTaskResponse'];
export type LeadershipTransfer = Schemas['TransferLeadershipResponse'];

export type LogRecord = Schemas['LogRecord'];
export type LogPage = Schemas['SearchLogsResponse'];
export type LogCounts = Schemas['CountLogsResponse'];
export type LogBucket = Schemas['LogBucket'];
export type StateCount = Schemas['StateCount'];
export type DayCount = Schemas['DayCount'];
export type DayCounts = Schemas['CountDaysResponse'];
export type RecentRun = Schemas['RecentRun'];
export type RecentRunList = Schemas['ListRecentRunsResponse'];
export type TaskChange = Schemas['TaskChange'];
export type TaskChanges = Schemas['ListTaskChangesResponse'];
export type WaitingExecutions = Schemas['WaitingExecutions'];
export type WaitingReason = Schemas['WaitingReason'];
export type TaskWarning = Schemas['TaskWarning'];
export type TaskCondition = Known<Schemas['TaskCondition']>;
export type Attempt = Schemas['Attempt'];
export type AttemptList = Schemas['ListAttemptsResponse'];

export type LogKind = Known<Schemas['LogKind']>;
export type TaskState = Known<Schemas['TaskState']>;
export type MisfirePolicy = Schemas['MisfirePolicy'];
export type Delivery = Schemas['Delivery'];
export type Decision = Known<Schemas['Decision']>;
export type NodeRole = Known<Schemas['NodeRole']>;
export type ExecutorState = Known<Schemas['ExecutorState']>;
export type ExecutionState = Known<Schemas['ExecutionState']>;

/** In the order in which an execution goes through them. */
export const EXECUTION_STATES = [
  'EXECUTION_STATE_ARMED',
  'EXECUTION_STATE_PENDING',
  'EXECUTION_STATE_ASSIGNED',
  'EXECUTION_STATE_RUNNING',
  'EXECUTION_STATE_SUCCEEDED',
  'EXECUTION_STATE_FAILED',
  'EXECUTION_STATE_TIMED_OUT',
  'EXECUTION_STATE_CANCELLED',
  'EXECUTION_STATE_LOST',
  'EXECUTION_STATE_EXPIRED',
] as const satisfies readonly ExecutionState[];

/** One page of a list; `next` is empty on the last one. */
export interface Page<Row> {
  rows: Row[];
  next: string;
  /** It took several calls to find: better not asked for often. */
  sparse?: boolean;
}
