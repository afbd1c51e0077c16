import type { Execution } from '../api/types.ts';
import { formatDate, hourOf, timeMs } from './time.ts';

/** Did it end without success? */
export function isFailure(execution: Execution): boolean {
  return ['FAILED', 'TIMED_OUT', 'LOST'].some((state) => execution.state === `EXECUTION_STATE_${state}`);
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

/** From the nominal time to the start of the last attempt; undefined before it starts. */
export function latenessMs(execution: Execution): number | undefined {
  const nominal = timeMs(execution.nominalTime);
  const start = timeMs(execution.startTime);
  return nominal === undefined || start === undefined ? undefined : start - nominal;
}

/** The value that a share of the values does not exceed (nearest rank); undefined for none. */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

export interface MinuteBucket {
  startMs: number;
  succeeded: number;
  failed: number;
  other: number;
  /** Largest lateness of those that started. */
  latenessMs: number | undefined;
}

/** Fires per minute of nominal time, for the `minutes` that end with the present one. */
export function perMinute(executions: readonly Execution[], nowMs: number, minutes: number): MinuteBucket[] {
  const first = (Math.floor(nowMs / 60_000) - minutes + 1) * 60_000;
  const buckets = Array.from({ length: minutes }, (_, index): MinuteBucket => {
    return { startMs: first + index * 60_000, succeeded: 0, failed: 0, other: 0, latenessMs: undefined };
  });
  for (const execution of executions) {
    const bucket = buckets[Math.floor(((timeMs(execution.nominalTime) ?? 0) - first) / 60_000)];
    if (!bucket) continue;
    if (execution.state === 'EXECUTION_STATE_SUCCEEDED') bucket.succeeded += 1;
    else if (isFailure(execution)) bucket.failed += 1;
    else bucket.other += 1;
    const late = latenessMs(execution);
    if (late !== undefined) bucket.latenessMs = Math.max(bucket.latenessMs ?? 0, late);
  }
  return buckets;
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
