import type { Action, Schedule } from '../api/types.ts';
import { cronInWords } from './cron.ts';
import { formatDuration, protoDurationMs } from './duration.ts';
import { viewerZone } from './time.ts';
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

/** A schedule in words. */
export function scheduleWords(schedule: Schedule | undefined): string {
  if (schedule?.cron) return cronInWords(schedule.cron.expression ?? '') ?? 'By a cron expression';
  if (schedule?.interval)
    return `Every ${formatDuration(protoDurationMs(schedule.interval.every) ?? 0).replace('.0', '')}`;
  if (schedule?.rrule) return 'By a recurrence rule';
  if (schedule?.union) return schedule.union.schedules?.map(scheduleWords).join('; ') ?? 'Never';
  return schedule?.at ? 'Once' : 'After other tasks';
}

/** The zone in which the task's times are shown: that of its cron schedule, otherwise the viewer's. */
export function taskZone(schedule: Schedule | undefined): string {
  const walled = schedule?.cron ?? schedule?.rrule;
  return walled ? walled.timeZone || 'UTC' : viewerZone();
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
