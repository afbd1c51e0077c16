/** What a schedule leaves out, as lines: "2026-12-25", "2026-12-24..2026-12-26 Christmas", "2026-12-31T18:00..2027-01-01T06:00". */
import { msToZoned, timeMs, zonedToMs } from '../time.ts';

interface Exclusion {
  date?: string;
  lastDate?: string;
  startTime?: string;
  endTime?: string;
  reason?: string;
}

const LINE = /^(\S+?)(?:\s*\.\.\s*(\S+))?(?:\s+(.*))?$/;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

function exclusionLine(exclusion: Exclusion, zone: string): string {
  const { date, lastDate, startTime, endTime, reason } = exclusion;
  const range = startTime || endTime ? [local(startTime, zone), local(endTime, zone)] : [date ?? '', lastDate ?? ''];
  return [range.filter(Boolean).join('..'), reason ?? ''].filter(Boolean).join(' ');
}

/** The lines of exclusions; instants in a zone. */
export function exclusionLines(exclusions: readonly Exclusion[], zone: string): string {
  return exclusions.map((each) => exclusionLine(each, zone)).join('\n');
}

function local(time: string | undefined, zone: string): string {
  const ms = timeMs(time);
  return ms === undefined ? '' : msToZoned(ms, zone);
}

/** The exclusions of the lines; undefined for none, or which line cannot be read. */
export function readExclusions(lines: string, zone: string): { value?: Exclusion[]; error?: string } {
  const value: Exclusion[] = [];
  for (const line of lines.split('\n').map((each) => each.trim())) {
    if (line === '') continue;
    const read = readLine(line, zone);
    if (!read)
      return { error: `${line.slice(0, 60)}: write a day, days (2026-12-24..2026-12-26) or a window of times` };
    value.push(read);
  }
  return value.length ? { value } : {};
}

function readLine(line: string, zone: string): Exclusion | undefined {
  const [, first = '', last, reason] = LINE.exec(line) ?? [];
  const said = reason ? { reason } : {};
  if (DATE.test(first) && (last === undefined || DATE.test(last))) {
    return { date: first, ...(last === undefined ? {} : { lastDate: last }), ...said };
  }
  const [start, end] = [zonedToMs(first, zone), last === undefined ? null : zonedToMs(last, zone)];
  if (start === null || end === null) return undefined;
  return { startTime: new Date(start).toISOString(), endTime: new Date(end).toISOString(), ...said };
}
