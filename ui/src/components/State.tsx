import type { ReactNode } from 'react';
import type { Decision, ExecutionState, ExecutorState, NodeRole, TaskState } from '../api/types.ts';

export type Tone = 'good' | 'bad' | 'warn' | 'busy' | 'idle' | 'lost';

const EXECUTION: Record<ExecutionState, [Tone, string]> = {
  EXECUTION_STATE_PENDING: ['warn', 'Pending'],
  EXECUTION_STATE_ARMED: ['idle', 'Armed'],
  EXECUTION_STATE_ASSIGNED: ['busy', 'Assigned'],
  EXECUTION_STATE_RUNNING: ['busy', 'Running'],
  EXECUTION_STATE_SUCCEEDED: ['good', 'Succeeded'],
  EXECUTION_STATE_FAILED: ['bad', 'Failed'],
  EXECUTION_STATE_TIMED_OUT: ['bad', 'Timed out'],
  EXECUTION_STATE_CANCELLED: ['idle', 'Cancelled'],
  EXECUTION_STATE_LOST: ['lost', 'Lost'],
  EXECUTION_STATE_EXPIRED: ['bad', 'Expired'],
};
const TASK: Record<TaskState, [Tone, string]> = {
  TASK_STATE_ACTIVE: ['good', 'Active'],
  TASK_STATE_PAUSED: ['warn', 'Paused'],
  TASK_STATE_FINISHED: ['idle', 'Finished'],
};
const ROLE: Record<NodeRole, [Tone, string]> = {
  LEADER: ['busy', 'Leader'],
  FOLLOWER: ['good', 'Follower'],
  CANDIDATE: ['warn', 'Candidate'],
  UNREACHABLE: ['bad', 'Unreachable'],
};
const EXECUTOR: Record<ExecutorState, [Tone, string]> = {
  EXECUTOR_STATE_READY: ['good', 'Ready'],
  EXECUTOR_STATE_DRAINING: ['warn', 'Draining'],
  EXECUTOR_STATE_DISCONNECTED: ['bad', 'Disconnected'],
};
const DECISION: Record<Decision, [Tone, string]> = {
  DECISION_RAN: ['good', 'Ran'],
  DECISION_SKIPPED: ['warn', 'Skipped'],
  DECISION_COALESCED: ['idle', 'Coalesced'],
  DECISION_LOST: ['lost', 'Lost'],
};
const ALL: Record<string, [Tone, string]> = { ...EXECUTION, ...TASK, ...ROLE, ...EXECUTOR, ...DECISION };

/** Colour of a state, role or decision. */
export function toneOf(state: string | undefined): Tone {
  return ALL[state ?? '']?.[0] ?? 'idle';
}

/** Word for a state, role or decision. */
export function wordOf(state: string | undefined): string {
  return ALL[state ?? '']?.[1] ?? 'Unknown';
}

/** A state, role or decision as a word in its colour. */
export function StateBadge({ state }: { state: string | undefined }) {
  return (
    <Badge tone={toneOf(state)} dot>
      {wordOf(state)}
    </Badge>
  );
}

/** A word in a colour. */
export function Badge({ tone, dot, children }: { tone: Tone; dot?: boolean; children: ReactNode }) {
  return (
    <span className={`badge tone-${tone}`}>
      {dot ? <span className="dot" aria-hidden /> : null}
      {children}
    </span>
  );
}
