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
  return schedule?.at ? 'once' : '–';
}

/** A schedule in words. */
export function scheduleWords(schedule: Schedule | undefined): string {
  if (schedule?.cron) return cronInWords(schedule.cron.expression ?? '') ?? 'By a cron expression';
  if (schedule?.interval)
    return `Every ${formatDuration(protoDurationMs(schedule.interval.every) ?? 0).replace('.0', '')}`;
  return schedule?.at ? 'Once' : 'Never';
}

/** The zone in which the task's times are shown: that of its cron schedule, otherwise the viewer's. */
export function taskZone(schedule: Schedule | undefined): string {
  if (!schedule?.cron) return viewerZone();
  return schedule.cron.timeZone || 'UTC';
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
  return { kind: 'No operation', detail: '' };
}
