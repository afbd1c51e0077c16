import { formatOffset, formatRelative, formatShort, formatTime, timeMs, viewerZone } from '../lib/time.ts';
import { useNow } from '../lib/useNow.ts';

interface Props {
  time: string | undefined;
  /** Default: the viewer's. */
  zone?: string | undefined;
}

function title(ms: number, zone: string): string {
  const lines = [...new Set([zone, viewerZone(), 'UTC'])].map((each) => `${formatTime(ms, each)} ${each}`);
  return lines.join('\n');
}

/** A time in a zone; pointing at it shows the viewer's zone and UTC. */
export function When({ time, zone = viewerZone() }: Props) {
  const now = useNow();
  const ms = timeMs(time);
  if (ms === undefined) return <span className="muted">–</span>;
  return (
    <time dateTime={time} title={title(ms, zone)} className="nowrap">
      {formatShort(ms, zone, now)}
    </time>
  );
}

/** How long from now or ago. */
export function Relative({ time, zone = viewerZone() }: Props) {
  const now = useNow();
  const ms = timeMs(time);
  if (ms === undefined) return <span className="muted">–</span>;
  return (
    <time dateTime={time} title={title(ms, zone)} className="nowrap">
      {formatRelative(ms, now)}
    </time>
  );
}

/** Date, time, offset from UTC and distance; pointing at it names the zone. */
export function FullTime({ time, zone = viewerZone() }: Props) {
  const now = useNow();
  const ms = timeMs(time);
  if (ms === undefined) return <span className="muted">–</span>;
  return (
    <time dateTime={time} title={title(ms, zone)}>
      {formatTime(ms, zone)}{' '}
      <span className="muted">
        {formatOffset(ms, zone)} · <span className="nowrap">{formatRelative(ms, now)}</span>
      </span>
    </time>
  );
}

/** The heading of a column of times, with the zone in which they are. */
export function InZone({ zone, children }: { zone: string; children: string }) {
  return (
    <>
      {children} <span className="zone">{zone}</span>
    </>
  );
}
