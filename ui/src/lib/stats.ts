import type { DayCount, Execution, ExecutionState, LogBucket, StateCount } from '../api/types.ts';
import { protoDurationMs } from './duration.ts';
import { formatDate, hourOf, timeMs } from './time.ts';

/** States of executions that ended, and did not do what they were to. Cancelling is somebody's wish. */
export const FAILURES = [
  'EXECUTION_STATE_FAILED',
  'EXECUTION_STATE_TIMED_OUT',
  'EXECUTION_STATE_LOST',
  'EXECUTION_STATE_EXPIRED',
] as const satisfies readonly ExecutionState[];

/** States of executions that have ended. */
export const ENDED = ['EXECUTION_STATE_SUCCEEDED', 'EXECUTION_STATE_CANCELLED', ...FAILURES] as const;

/** What executions come to, as charts and calendars paint it; in the order in which a bar is built up. */
export const PARTS = ['failed', 'succeeded', 'running', 'waiting', 'cancelled'] as const;
export type Part = (typeof PARTS)[number];
export type Tally = Record<Part, number>;

const PART_OF: Partial<Record<ExecutionState, Part>> = {
  EXECUTION_STATE_ARMED: 'waiting',
  EXECUTION_STATE_PENDING: 'waiting',
  EXECUTION_STATE_ASSIGNED: 'waiting',
  EXECUTION_STATE_RUNNING: 'running',
  EXECUTION_STATE_SUCCEEDED: 'succeeded',
  EXECUTION_STATE_CANCELLED: 'cancelled',
};

/** What an execution in a state is counted as. */
export function partOf(state: string | undefined): Part {
  if ((FAILURES as readonly string[]).includes(state ?? '')) return 'failed';
  return PART_OF[state as ExecutionState] ?? 'waiting';
}

/** How many there are in all. */
export function total(tally: Tally): number {
  return PARTS.reduce((sum, part) => sum + tally[part], 0);
}

function nothing(): Tally {
  return { failed: 0, succeeded: 0, running: 0, waiting: 0, cancelled: 0 };
}

/** Did it end without success? */
export function isFailure(execution: Execution): boolean {
  return partOf(execution.state) === 'failed';
}

/** Does an executor hold it until its nominal time? Charts do not count it before: a bar would never be whole. */
export function isArmed({ state }: { state?: string | undefined }): boolean {
  return state === 'EXECUTION_STATE_ARMED';
}

/** Has it ended? */
export function isEnded(execution: Execution): boolean {
  return (ENDED as readonly string[]).includes(execution.state ?? '');
}

/** How long the last attempt ran, up to now while it runs; undefined before it starts. */
export function runMs(execution: Execution, nowMs: number): number | undefined {
  const start = timeMs(execution.startTime);
  if (start === undefined) return undefined;
  const end = timeMs(execution.endTime);
  if (end === undefined && isEnded(execution)) return undefined;
  return Math.max(0, (end ?? nowMs) - start);
}

/** From the nominal time to the first start; undefined before it. */
export function latenessMs(execution: Execution): number | undefined {
  if (execution.trigger === 'TRIGGER_BACKFILL') return undefined;
  const nominal = timeMs(execution.nominalTime);
  // What has started once has no other start.
  const start = timeMs(execution.firstStartTime ?? execution.startTime);
  return nominal === undefined || start === undefined ? undefined : start - nominal;
}

export interface MinuteBucket extends Tally {
  startMs: number;
  /** Largest lateness of those that started. */
  latenessMs: number | undefined;
  /** For how long at least those have waited that are late and have not started; undefined when there are none. */
  unstartedMs: number | undefined;
}

/** Counts by state, put together as the charts show them. */
export function tally(counts: readonly StateCount[] | undefined): Tally {
  const sums = nothing();
  for (const each of counts ?? []) if (!isArmed(each)) sums[partOf(each.state)] += Number(each.count ?? 0);
  return sums;
}

/** Fires per minute of nominal time, for the `minutes` that end with the present one; the server leaves empty ones out. */
export function perMinute(found: readonly LogBucket[], nowMs: number, minutes: number): MinuteBucket[] {
  const first = (Math.floor(nowMs / 60_000) - minutes + 1) * 60_000;
  const byStart = new Map(found.map((bucket) => [timeMs(bucket.startTime), bucket]));
  return Array.from({ length: minutes }, (_, index) => {
    const startMs = first + index * 60_000;
    const bucket = byStart.get(startMs);
    const counts = tally(bucket?.counts);
    const waits = counts.waiting > 0 || (bucket?.counts?.some(isArmed) ?? false);
    const unstarted = waits && Number(bucket?.lateCount ?? 0) > 0;
    return {
      startMs,
      ...counts,
      latenessMs: protoDurationMs(bucket?.lateness?.max),
      // All nominal times of the minute may be at its end.
      unstartedMs: unstarted ? Math.max(0, nowMs - startMs - 60_000) : undefined,
    };
  });
}

export interface Day extends Tally {
  date: string;
}

/** Weeks of seven days, Monday first, that end with the day of `nowMs` in a zone; days to come are undefined. */
export function yearOfDays(
  counts: readonly DayCount[],
  zone: string,
  nowMs: number,
  weeks: number,
): (Day | undefined)[][] {
  const byDate = new Map(counts.map((day) => [day.date, tally(day.counts)]));
  const today = formatDate(nowMs, zone);
  const weekday = (new Date(`${today}T12:00:00Z`).getUTCDay() + 6) % 7;
  return Array.from({ length: weeks }, (_, week) =>
    Array.from({ length: 7 }, (_, day) => {
      const distance = (week - weeks + 1) * 7 + day - weekday;
      if (distance > 0) return undefined;
      const date = shiftDate(today, distance);
      return { date, ...(byDate.get(date) ?? nothing()) };
    }),
  );
}

/** Executions per day and hour of nominal time in a zone, the newest day last. */
export function calendar(
  executions: readonly Execution[],
  zone: string,
  nowMs: number,
  days: number,
): { date: string; hours: Tally[] }[] {
  // Noon of a UTC day, moved by whole days, never skips or repeats a date in any zone by a clock change.
  const dates = Array.from({ length: days }, (_, index) => shiftDate(formatDate(nowMs, zone), index - days + 1));
  const rows = new Map(dates.map((date) => [date, Array.from({ length: 24 }, nothing)]));
  for (const execution of executions) {
    const nominal = timeMs(execution.nominalTime);
    if (nominal === undefined || isArmed(execution)) continue;
    const cell = rows.get(formatDate(nominal, zone))?.[hourOf(nominal, zone)];
    if (!cell) continue;
    cell[partOf(execution.state)] += 1;
  }
  return dates.map((date) => ({ date, hours: rows.get(date) ?? [] }));
}

function shiftDate(date: string, days: number): string {
  return new Date(Date.parse(`${date}T12:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

export interface Step {
  name: string;
  fromMs: number | undefined;
  toMs: number | undefined;
  /** Undefined: that of the state of the execution. */
  tone?: 'idle' | 'warn' | 'bad';
}

/** From the nominal time to the end: the decision, each attempt, and the waits before and between them. */
export function timingSteps(execution: Execution, nowMs: number): Step[] {
  const nominal = timeMs(execution.nominalTime);
  const fire = timeMs(execution.fireTime);
  const start = timeMs(execution.startTime);
  const end = timeMs(execution.endTime) ?? (isEnded(execution) ? undefined : nowMs);
  const steps: Step[] = [];
  const ahead = nominal !== undefined && fire !== undefined && fire < nominal;
  // A backfill lies any time behind the nominal time, beside which the rest would not be seen.
  if (ahead) steps.push({ name: 'Decision to nominal time', fromMs: fire, toMs: nominal, tone: 'idle' });
  else if (execution.trigger !== 'TRIGGER_BACKFILL')
    steps.push({ name: 'Nominal time to decision', fromMs: nominal, toMs: fire, tone: 'idle' });
  const first = ahead ? 'Nominal time to start' : 'Decision to start';
  let since = ahead ? nominal : fire;
  for (const past of execution.pastAttempts ?? []) {
    const [from, to] = [timeMs(past.startTime), timeMs(past.endTime)];
    const number = String(past.attempt ?? 1);
    steps.push({ name: number === '1' ? first : waitName(number), fromMs: since, toMs: from ?? to, tone: 'warn' });
    steps.push({ name: `Attempt ${number}`, fromMs: from, toMs: to, tone: 'bad' });
    since = to ?? since;
  }
  const tried = (execution.pastAttempts?.length ?? 0) > 0;
  steps.push({
    name: tried ? waitName(String(execution.attempt ?? 1)) : first,
    fromMs: since,
    // What is armed has not begun to wait.
    toMs: start ?? (end !== undefined && since !== undefined ? Math.max(since, end) : end),
    tone: 'warn',
  });
  steps.push({
    name: tried ? `Attempt ${String(execution.attempt ?? 1)}` : 'Start to end',
    fromMs: start,
    toMs: end,
    ...(isFailure(execution) ? { tone: 'bad' as const } : {}),
  });
  return steps;
}

function waitName(attempt: string): string {
  return `Wait before attempt ${attempt}`;
}
