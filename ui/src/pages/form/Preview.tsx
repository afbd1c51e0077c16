import { Text } from '@mantine/core';
import type { Schedule } from '../../api/types.ts';
import { ErrorNote, Remote } from '../../components/Remote.tsx';
import { formatOffset, formatRelative, formatTime, isZone, timeMs, viewerZone } from '../../lib/time.ts';
import { useNow } from '../../lib/useNow.ts';
import type { Looked } from './usePreview.ts';

/** The next fires as the server counts them, in the task's zone and the viewer's. */
export function Preview({ looked }: { looked: Looked }) {
  const { query, schedule, readable, otherWarnings } = looked;
  if (schedule === undefined) return <Text c="dimmed">It has no times of its own.</Text>;
  if (!readable) return <Text c="dimmed">Complete the schedule to see them.</Text>;
  if (looked.problems.length) return <Refusal messages={looked.problems.map(({ description }) => description)} />;
  if (query.error) return <ErrorNote error={query.error} retry={() => void query.refetch()} />;
  return (
    <Remote query={query} rows={6}>
      {({ nominalTimes }) => (
        <>
          <Times times={nominalTimes} zone={zoneOf(schedule)} />
          {otherWarnings.map((words) => (
            <Text key={words} size="sm" c="dimmed" mt="xs" className="wrap-anywhere" role="status">
              {words}
            </Text>
          ))}
        </>
      )}
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
