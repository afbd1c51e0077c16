/**
 * Messages of the API in protobuf's JSON mapping: fields in camelCase, left out when they have their default; int64 as strings;
 * times as RFC 3339; durations as "1.5s"; bytes as base64.
 */

export type TaskState = 'TASK_STATE_ACTIVE' | 'TASK_STATE_PAUSED' | 'TASK_STATE_FINISHED';
export type MisfirePolicy = 'MISFIRE_POLICY_SKIP' | 'MISFIRE_POLICY_ONE' | 'MISFIRE_POLICY_ALL';
export type Delivery = 'DELIVERY_AT_LEAST_ONCE' | 'DELIVERY_AT_MOST_ONCE';
export type Trigger = 'TRIGGER_SCHEDULE' | 'TRIGGER_MANUAL';
export type Decision = 'DECISION_RAN' | 'DECISION_SKIPPED' | 'DECISION_COALESCED';
export type NodeRole = 'LEADER' | 'FOLLOWER' | 'CANDIDATE' | 'UNREACHABLE';
export type ExecutorState = 'EXECUTOR_STATE_READY' | 'EXECUTOR_STATE_DRAINING' | 'EXECUTOR_STATE_DISCONNECTED';

export const EXECUTION_STATES = [
  'EXECUTION_STATE_PENDING',
  'EXECUTION_STATE_ASSIGNED',
  'EXECUTION_STATE_RUNNING',
  'EXECUTION_STATE_SUCCEEDED',
  'EXECUTION_STATE_FAILED',
  'EXECUTION_STATE_TIMED_OUT',
  'EXECUTION_STATE_CANCELLED',
  'EXECUTION_STATE_LOST',
] as const;
export type ExecutionState = (typeof EXECUTION_STATES)[number];

export interface Schedule {
  at?: string;
  cron?: { expression?: string; timeZone?: string };
  interval?: { every?: string; anchor?: string };
  startTime?: string;
  endTime?: string;
}

export interface Action {
  command?: {
    argv?: string[];
    shell?: boolean;
    env?: Record<string, string>;
    workingDirectory?: string;
    stdin?: string;
  };
  http?: {
    method?: string;
    url?: string;
    headers?: Record<string, string>;
    body?: string;
    expectedStatuses?: number[];
  };
  python?: { callable?: string; kwargsJson?: string };
  noop?: Record<string, never>;
}

export interface TaskDefinition {
  name: string;
  labels?: Record<string, string>;
  schedule?: Schedule;
  action?: Action;
  timeLimit?: string;
  paused?: boolean;
  executorLabels?: Record<string, string>;
  misfirePolicy?: MisfirePolicy;
  misfireThreshold?: string;
  delivery?: Delivery;
}

export interface Task extends TaskDefinition {
  uid?: string;
  etag?: string;
  generation?: string;
  state?: TaskState;
  createTime?: string;
  updateTime?: string;
  nextFireTime?: string;
  lastFireTime?: string;
}

export interface Execution {
  id: string;
  task: string;
  taskUid?: string;
  generation?: string;
  trigger?: Trigger;
  nominalTime?: string;
  state?: ExecutionState;
  attempt?: number;
  fencingToken?: string;
  executorId?: string;
  fireTime?: string;
  startTime?: string;
  endTime?: string;
  exitCode?: number;
  httpStatus?: number;
  error?: string;
  outputTail?: string;
  outputSizeBytes?: string;
  leaderId?: string;
  term?: string;
}

export interface LedgerEntry {
  task: string;
  nominalTime?: string;
  lastNominalTime?: string;
  count?: string;
  decision?: Decision;
  reason?: string;
  executionId?: string;
  trigger?: Trigger;
  decideTime?: string;
  leaderId?: string;
  term?: string;
}

export interface LinkStatus {
  peerId?: string;
  connected?: boolean;
  silence?: string;
}

export interface NodeStatus {
  id: string;
  address?: string;
  role?: NodeRole;
  term?: string;
  commitIndex?: string;
  appliedIndex?: string;
  lagEntries?: string;
  logEntries?: string;
  logSizeBytes?: string;
  version?: string;
  uptime?: string;
  links?: LinkStatus[];
  tzdataVersion?: string;
  problem?: string;
}

export interface ExecutorStatus {
  id: string;
  labels?: Record<string, string>;
  slots?: number;
  slotsUsed?: number;
  state?: ExecutorState;
  nodeId?: string;
  version?: string;
}

export interface ClusterStatus {
  clusterId?: string;
  leaderId?: string;
  nodes?: NodeStatus[];
  executors?: ExecutorStatus[];
  counts?: { tasks?: string; executions?: string; pendingExecutions?: string };
}

export interface Page<Row> {
  rows: Row[];
  next: string;
}
