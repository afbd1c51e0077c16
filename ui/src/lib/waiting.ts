/** Why executions have not started, in words for people. */
import type { Execution, WaitingReason } from '../api/types.ts';

const WORDS: Record<WaitingReason, string> = {
  WAITING_REASON_UNSPECIFIED: '',
  WAITING_REASON_UNKNOWN: 'Only the leader knows, and it does not answer',
  WAITING_REASON_NO_EXECUTOR: 'No executor that takes work is connected',
  WAITING_REASON_NO_MATCHING_EXECUTOR: 'No connected executor carries the labels that its task asks for',
  WAITING_REASON_EXECUTOR_DISCONNECTED: 'Its executor is not connected',
  WAITING_REASON_NO_FREE_SLOT: 'All slots of the executors that may run it are taken',
  WAITING_REASON_GROUP_LIMIT: 'The limits of its group have no room',
  WAITING_REASON_OVERLAP: 'Another execution of its task has not ended',
  WAITING_REASON_BACKFILL: "Another execution of its task's backfills has not ended",
  WAITING_REASON_RETRY: 'Its next attempt is still to come',
  WAITING_REASON_JITTER: 'Its start was spread by jitter',
  WAITING_REASON_LEADER_CHANGE: 'The leader is new, and executors are connecting again',
  WAITING_REASON_DISPATCH: 'It is about to be given to an executor',
};

/** Words of the server at the beginning of a sentence. */
export function sentence(words: string): string {
  return words.replace(/^./, (first) => first.toUpperCase());
}

/** What something waits for: the server's words, which say more, or else what its reason means. */
export function waitingWords(reason: WaitingReason | undefined, detail: string | undefined): string {
  return sentence(detail || WORDS[reason ?? 'WAITING_REASON_UNSPECIFIED']);
}

/** Why an execution has not started; empty for one that has, and for one that is about to. */
export function whyItWaits({
  waitingReason,
  waitingDetail,
}: Partial<Pick<Execution, 'waitingReason' | 'waitingDetail'>>): string {
  return waitingReason === 'WAITING_REASON_DISPATCH' ? '' : waitingWords(waitingReason, waitingDetail);
}
