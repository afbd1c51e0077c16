import { Text } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { previewSchedule } from '../../api/calls.ts';
import { Problem } from '../../api/problem.ts';
import type { Schedule } from '../../api/types.ts';
import { ErrorNote, Remote } from '../../components/Remote.tsx';
import { taskOf, type TaskForm } from '../../lib/form/form.ts';
import { formatOffset, formatRelative, formatTime, isZone, timeMs, viewerZone } from '../../lib/time.ts';
import { useNow } from '../../lib/useNow.ts';

export const PREVIEWED = 10;

/** The next fires as the server counts them, in the task's zone and the viewer's. */
export function Preview({ form }: { form: TaskForm }) {
  const { task, errors } = taskOf(form);
  const [schedule] = useDebouncedValue(JSON.stringify(task.schedule ?? {}), 400);
  const [name] = useDebouncedValue(/^[A-Za-z0-9][\w.-]{0,199}$/.test(task.name) ? task.name : '', 400);
  const readable = !Object.keys(errors).some((path) => path.startsWith('schedule'));
  const preview = useQuery({
    queryKey: ['preview', schedule, name],
    queryFn: ({ signal }) => previewSchedule(JSON.parse(schedule) as Schedule, PREVIEWED, name, signal),
    enabled: readable && task.schedule !== undefined,
    refetchInterval: 15_000,
    retry: false,
  });
  const zone = zoneOf(task.schedule);
  if (task.schedule === undefined) return <Text c="dimmed">It has no times of its own.</Text>;
  if (!readable) return <Text c="dimmed">Complete the schedule to see them.</Text>;
  if (preview.error) {
    if (preview.error instanceof Problem && preview.error.violations.length) {
      return <Refusal messages={preview.error.violations.map((each) => each.description)} />;
    }
    return <ErrorNote error={preview.error} retry={() => void preview.refetch()} />;
  }
  return (
    <Remote query={preview} rows={6}>
      {({ nominalTimes, problems }) =>
        problems.length ? (
          <Refusal messages={problems.map((each) => each.description)} />
        ) : (
          <Times times={nominalTimes} zone={zone} />
        )
      }
    </Remote>
  );
}

function zoneOf(schedule: Schedule | undefined): string {
  const named = JSON.stringify(schedule ?? {}).match(/"timeZone":"([^"]+)"/)?.[1];
  return named && isZone(named) ? named : schedule?.cron ? 'UTC' : viewerZone();
}

function Times({ times, zone }: { times: string[]; zone: string }) {
  const now = useNow();
  const mine = viewerZone();
  const offsets = new Set(times.map((time) => formatOffset(timeMs(time) ?? 0, zone)));
  if (times.length === 0) return <Text c="dimmed">It does not fire any more.</Text>;
  return (
    <table className="table" aria-label="Next fires" style={{ margin: '0 -10px', width: 'calc(100% + 20px)' }}>
      <thead>
        <tr>
          <th>
            {zone} {offsets.size === 1 ? `(${[...offsets].join('')})` : ''}
          </th>
          <th className="end">{zone === mine ? '' : `Yours (${mine})`}</th>
        </tr>
      </thead>
      <tbody>
        {times.map((time) => {
          const ms = timeMs(time) ?? 0;
          return (
            <tr key={time} title={formatRelative(ms, now)}>
              <td>
                <time dateTime={time} className="nowrap">
                  {formatTime(ms, zone)}
                </time>{' '}
                <span className="muted">{offsets.size > 1 ? formatOffset(ms, zone) : ''}</span>
              </td>
              <td className="end muted nowrap">
                {zone === mine ? formatRelative(ms, now) : formatTime(ms, mine).slice(5)}
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function Refusal({ messages }: { messages: string[] }) {
  return (
    <Text size="sm" style={{ color: 'var(--bad-fg)' }} className="wrap-anywhere" role="status">
      {messages.join('; ')}
    </Text>
  );
}
