import type { DayCount, Execution, LogBucket, StateCount } from '../api/types.ts';
import { protoDurationMs } from './duration.ts';
import { formatDate, hourOf, timeMs } from './time.ts';

const FAILURES = ['FAILED', 'TIMED_OUT', 'LOST'].map((state) => `EXECUTION_STATE_${state}`);

/** Did it end without success? */
export function isFailure(execution: Execution): boolean {
  return FAILURES.includes(execution.state ?? '');
}

/** Has it ended? */
export function isEnded(execution: Execution): boolean {
  return !['PENDING', 'ASSIGNED', 'RUNNING'].some((state) => execution.state === `EXECUTION_STATE_${state}`);
}

/** How long the last attempt ran, up to now while it runs; undefined before it starts. */
export function runMs(execution: Execution, nowMs: number): number | undefined {
  const start = timeMs(execution.startTime);
  if (start === undefined) return undefined;
  const end = timeMs(execution.endTime);
  if (end === undefined && isEnded(execution)) return undefined;
  return Math.max(0, (end ?? nowMs) - start);
}

/** From the nominal time to the first start that is known; undefined before it. */
export function latenessMs(execution: Execution): number | undefined {
  if (execution.trigger === 'TRIGGER_BACKFILL') return undefined;
  const nominal = timeMs(execution.nominalTime);
  const attempts = [...(execution.pastAttempts ?? []), execution];
  const start = attempts.map(({ startTime }) => timeMs(startTime)).find((at) => at !== undefined);
  return nominal === undefined || start === undefined ? undefined : start - nominal;
}

export interface MinuteBucket {
  startMs: number;
  succeeded: number;
  failed: number;
  other: number;
  /** Largest lateness of those that started. */
  latenessMs: number | undefined;
}

/** Counts by state, put together as the charts show them. */
export function tally(counts: readonly StateCount[] | undefined): { succeeded: number; failed: number; other: number } {
  const sums = { succeeded: 0, failed: 0, other: 0 };
  for (const { state, count } of counts ?? []) {
    const part =
      state === 'EXECUTION_STATE_SUCCEEDED' ? 'succeeded' : FAILURES.includes(state ?? '') ? 'failed' : 'other';
    sums[part] += Number(count ?? 0);
  }
  return sums;
}

/** Fires per minute of nominal time, for the `minutes` that end with the present one; the server leaves empty ones out. */
export function perMinute(found: readonly LogBucket[], nowMs: number, minutes: number): MinuteBucket[] {
  const first = (Math.floor(nowMs / 60_000) - minutes + 1) * 60_000;
  const byStart = new Map(found.map((bucket) => [timeMs(bucket.startTime), bucket]));
  return Array.from({ length: minutes }, (_, index) => {
    const startMs = first + index * 60_000;
    const bucket = byStart.get(startMs);
    return { startMs, ...tally(bucket?.counts), latenessMs: protoDurationMs(bucket?.lateness?.max) };
  });
}

export interface Day {
  date: string;
  total: number;
  failed: number;
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
      const { succeeded = 0, failed = 0, other = 0 } = byDate.get(date) ?? {};
      return { date, total: succeeded + failed + other, failed };
    }),
  );
}

export interface HourCell {
  total: number;
  failed: number;
}

/** Executions per day and hour of nominal time in a zone, the newest day last. */
export function calendar(
  executions: readonly Execution[],
  zone: string,
  nowMs: number,
  days: number,
): { date: string; hours: HourCell[] }[] {
  // Noon of a UTC day, moved by whole days, never skips or repeats a date in any zone by a clock change.
  const dates = Array.from({ length: days }, (_, index) => shiftDate(formatDate(nowMs, zone), index - days + 1));
  const rows = new Map(
    dates.map((date) => [date, Array.from({ length: 24 }, (): HourCell => ({ total: 0, failed: 0 }))]),
  );
  for (const execution of executions) {
    const nominal = timeMs(execution.nominalTime);
    if (nominal === undefined) continue;
    const cell = rows.get(formatDate(nominal, zone))?.[hourOf(nominal, zone)];
    if (!cell) continue;
    cell.total += 1;
    if (isFailure(execution)) cell.failed += 1;
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
  // A backfill lies any time behind the nominal time, beside which the rest would not be seen.
  if (execution.trigger !== 'TRIGGER_BACKFILL')
    steps.push({ name: 'Nominal time to decision', fromMs: nominal, toMs: fire, tone: 'idle' });
  let since = fire;
  for (const past of execution.pastAttempts ?? []) {
    const [from, to] = [timeMs(past.startTime), timeMs(past.endTime)];
    const number = String(past.attempt ?? 1);
    steps.push({ name: waitName(number), fromMs: since, toMs: from ?? to, tone: 'warn' });
    steps.push({ name: `Attempt ${number}`, fromMs: from, toMs: to, tone: 'bad' });
    since = to ?? since;
  }
  const tried = (execution.pastAttempts?.length ?? 0) > 0;
  steps.push({
    name: tried ? waitName(String(execution.attempt ?? 1)) : 'Decision to start',
    fromMs: since,
    toMs: start ?? end,
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
  return attempt === '1' ? 'Decision to start' : `Wait before attempt ${attempt}`;
}
