import type { Action, Schedule, Task } from '../api/types.ts';
import { cronInWords } from './cron.ts';
import { formatDuration, protoDurationMs } from './duration.ts';
import { TASK_FIELDS } from './form/taskFields.ts';
import { showValue, type FieldKind } from './form/values.ts';
import { isZone, viewerZone } from './time.ts';
import { joinWords } from './words.ts';

/** A schedule in a few characters, for tables. */
export function scheduleShort(schedule: Schedule | undefined): string {
  if (schedule?.cron) return schedule.cron.expression ?? '';
  if (schedule?.interval)
    return `every ${formatDuration(protoDurationMs(schedule.interval.every) ?? 0).replace('.0', '')}`;
  if (schedule?.rrule) return 'rrule';
  if (schedule?.union) return `${String(schedule.union.schedules?.length ?? 0)} schedules`;
  return schedule?.at ? 'once' : '–';
}

/** When a task fires, in a few characters: by its schedule, or after which tasks. */
export function taskShort({ schedule, after }: Pick<Task, 'schedule' | 'after'>): string {
  if (schedule || !after?.length) return scheduleShort(schedule);
  return after.length === 1 ? `after ${after[0]?.task ?? ''}` : `after ${String(after.length)} tasks`;
}

/** What simple fields of a task say, but those in `without`: labels and words. Of what is not set, or is the default, nothing. */
export function simpleFacts(task: Task, without: ReadonlySet<string>): [string, string][] {
  return TASK_FIELDS.filter(({ path }) => !without.has(path)).flatMap(({ path, kind, label, options }) => {
    const value: unknown = Object.entries(task).find(([name]) => name === path)?.[1];
    const words = kind === 'choice' ? chosen(options ?? [], value) : simpleWords(kind, value);
    return words ? [[label, words]] : [];
  });
}

function chosen(options: readonly { value: string; label: string }[], value: unknown): string {
  const at = options.findIndex((option) => option.value === value);
  return at > 0 ? (options[at]?.label ?? '') : '';
}

function simpleWords(kind: FieldKind, value: unknown): string {
  if (kind === 'boolean') return value === true ? 'yes' : '';
  const ms = kind === 'duration' && typeof value === 'string' ? protoDurationMs(value) : undefined;
  return ms === undefined ? String(showValue(kind, value, viewerZone())) : formatDuration(ms);
}

/** A schedule in words. */
export function scheduleWords(schedule: Schedule | undefined): string {
  if (schedule?.cron) return cronInWords(schedule.cron.expression ?? '') ?? 'By a cron expression';
  if (schedule?.interval)
    return `Every ${formatDuration(protoDurationMs(schedule.interval.every) ?? 0).replace('.0', '')}`;
  if (schedule?.rrule) return 'By a recurrence rule';
  if (schedule?.union) return schedule.union.schedules?.map(scheduleWords).join('; ') ?? 'Never';
  return schedule?.at ? 'Once' : 'After other tasks';
}

/** The zone in which the task's times are shown: that of its schedule, of a union's first that has one, or the viewer's. */
export function taskZone(schedule: Schedule | undefined): string {
  return ownZone(schedule) ?? viewerZone();
}

/** The zone that a schedule is read in, if it is read in any. */
export function ownZone(schedule: Schedule | undefined): string | undefined {
  if (schedule?.cron) return schedule.cron.timeZone || 'UTC';
  if (schedule?.rrule) return schedule.rrule.timeZone || namedZone(schedule.rrule.lines ?? '') || 'UTC';
  return schedule?.union?.schedules?.map(ownZone).find((zone) => zone !== undefined);
}

/** The zone that the lines of a recurrence name, if this browser knows it. */
function namedZone(lines: string): string | undefined {
  const named = /TZID=([^:;\s]+)/.exec(lines)?.[1];
  return named !== undefined && isZone(named) ? named : undefined;
}

/** What the action is, and what it does. */
export function actionWords(action: Action | undefined): { kind: string; detail: string } {
  if (action?.command) {
    const argv = action.command.argv ?? [];
    return action.command.shell
      ? { kind: 'Shell', detail: [argv[0] ?? '', joinWords(argv.slice(1))].filter(Boolean).join('\n') }
      : { kind: 'Command', detail: joinWords(argv) };
  }
  if (action?.http) return { kind: 'HTTP', detail: `${action.http.method || 'GET'} ${action.http.url ?? ''}` };
  if (action?.python)
    return { kind: 'Python', detail: `${action.python.callable ?? ''}(${action.python.kwargsJson || ''})` };
  if (action?.grpc) return { kind: 'gRPC', detail: `${action.grpc.target ?? ''} ${action.grpc.method ?? ''}` };
  if (action?.awsLambda) return { kind: 'AWS Lambda', detail: action.awsLambda.function ?? '' };
  if (action?.container) {
    const words = [action.container.image ?? '', joinWords(action.container.command ?? [])];
    return { kind: 'Container', detail: words.filter(Boolean).join(' ') };
  }
  if (action?.extension) {
    return { kind: action.extension.kind ?? 'Extension', detail: action.extension.parametersJson || '{}' };
  }
  return { kind: 'No operation', detail: '' };
}
