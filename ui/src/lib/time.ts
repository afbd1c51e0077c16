import { formatDuration } from './duration.ts';

/** Milliseconds since the epoch of an RFC 3339 time; undefined when there is none. */
export function timeMs(text: string | undefined): number | undefined {
  if (!text) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** IANA name of the viewer's zone. */
export function viewerZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** Does this runtime know the zone? */
export function isZone(zone: string): boolean {
  try {
    formatter(zone);
    return true;
  } catch {
    return false;
  }
}

/** All zones that the browser knows, UTC first. */
export function knownZones(): string[] {
  return ['UTC', ...Intl.supportedValuesOf('timeZone').filter((zone) => zone !== 'UTC')];
}

interface Fields {
  year: string;
  month: string;
  day: string;
  hour: string;
  minute: string;
  second: string;
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatter(zone: string): Intl.DateTimeFormat {
  let found = formatters.get(zone);
  if (!found) {
    found = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    formatters.set(zone, found);
  }
  return found;
}

function fields(ms: number, zone: string): Fields {
  const parts = Object.fromEntries(
    formatter(zone)
      .formatToParts(ms)
      .map((part) => [part.type, part.value]),
  );
  return { ...(parts as unknown as Fields), year: (parts.year ?? '').padStart(4, '0') };
}

/** "2026-03-29". */
export function formatDate(ms: number, zone: string): string {
  const { year, month, day } = fields(ms, zone);
  return `${year}-${month}-${day}`;
}

/** "02:30:00". */
export function formatClock(ms: number, zone: string): string {
  const { hour, minute, second } = fields(ms, zone);
  return `${hour}:${minute}:${second}`;
}

/** "2026-03-29 02:30:00", without the zone. */
export function formatTime(ms: number, zone: string): string {
  return `${formatDate(ms, zone)} ${formatClock(ms, zone)}`;
}

/** The time alone when it is today in that zone, otherwise month and day before it. */
export function formatShort(ms: number, zone: string, nowMs: number): string {
  const date = formatDate(ms, zone);
  const today = formatDate(nowMs, zone);
  if (date === today) return formatClock(ms, zone);
  return `${date.slice(0, 4) === today.slice(0, 4) ? date.slice(5) : date} ${formatClock(ms, zone)}`;
}

/** Hour of the day, 0 to 23. */
export function hourOf(ms: number, zone: string): number {
  return Number(fields(ms, zone).hour);
}

/** Minutes that the zone is ahead of UTC at that instant. */
export function offsetMinutes(ms: number, zone: string): number {
  const { year, month, day, hour, minute, second } = fields(ms, zone);
  const shown = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  return Math.round((shown - Math.floor(ms / 1000) * 1000) / 60_000);
}

/** "UTC+01:00"; "UTC" for no offset. */
export function formatOffset(ms: number, zone: string): string {
  const minutes = offsetMinutes(ms, zone);
  if (minutes === 0) return 'UTC';
  const size = Math.abs(minutes);
  const pad = (value: number) => String(value).padStart(2, '0');
  return `UTC${minutes < 0 ? '−' : '+'}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}

/** "in 5 s", "3 min 4 s ago", "now" within half a second. */
export function formatRelative(ms: number, nowMs: number): string {
  const distance = ms - nowMs;
  if (Math.abs(distance) < 500) return 'now';
  const size = Math.abs(distance);
  const text = formatDuration(size < 60_000 ? Math.max(1000, Math.round(size / 1000) * 1000) : size).replace('.0', '');
  return distance > 0 ? `in ${text}` : `${text} ago`;
}

/**
 * The instant of a local date and time ("2026-03-29T02:30" or with seconds) in a zone. Null when unreadable. A time that
 * a clock change leaves out counts as the same time after the change; of a repeated one, the first.
 */
export function zonedToMs(local: string, zone: string): number | null {
  const match = /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2}))?$/.exec(local);
  if (!match || !isZone(zone)) return null;
  const [year, month, day, hour, minute, second] = match
    .slice(1)
    .map((part) => Number((part as string | undefined) ?? 0));
  const wall = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
  if (new Date(wall).toISOString().slice(0, 16) !== local.replace(' ', 'T').slice(0, 16)) return null;
  const before = offsetMinutes(wall - 86_400_000, zone);
  const after = offsetMinutes(wall + 86_400_000, zone);
  for (const offset of [before, after]) {
    const ms = wall - offset * 60_000;
    if (offsetMinutes(ms, zone) === offset) return ms;
  }
  return wall - before * 60_000;
}

/** What an input of type datetime-local shows for an instant. */
export function msToZoned(ms: number, zone: string): string {
  return formatTime(ms, zone).replace(' ', 'T');
}

/** Lengths of time that a pause is often meant to take: what they are called, and their end as `msToZoned` says it. */
export function pauseEnds(nowMs: number, zone: string): { name: string; local: string }[] {
  const minute = Math.ceil(nowMs / 60_000) * 60_000;
  const today = zonedToMs(`${formatDate(nowMs, zone)}T12:00`, zone) ?? nowMs;
  const morning = (days: number) => `${formatDate(today + days * 86_400_000, zone)}T09:00:00`;
  const weekday = (new Date(`${formatDate(nowMs, zone)}T12:00:00Z`).getUTCDay() + 6) % 7;
  return [
    { name: '1 hour', local: msToZoned(minute + 3_600_000, zone) },
    { name: '8 hours', local: msToZoned(minute + 8 * 3_600_000, zone) },
    { name: 'Tomorrow at 9', local: morning(1) },
    { name: 'Monday at 9', local: morning(7 - weekday) },
  ];
}
