import { describe, expect, it } from 'vitest';
import {
  formatOffset,
  formatRelative,
  formatShort,
  formatTime,
  hourOf,
  isZone,
  msToZoned,
  pauseEnds,
  zonedToMs,
} from './time.ts';

const at = (text: string) => Date.parse(text);
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Pacific/Apia'];

describe('times in a zone', () => {
  it('follow the clock changes of that zone', () => {
    expect(formatTime(at('2026-03-29T00:59:59Z'), 'Europe/Berlin')).toBe('2026-03-29 01:59:59');
    expect(formatTime(at('2026-03-29T01:00:00Z'), 'Europe/Berlin')).toBe('2026-03-29 03:00:00');
    expect(formatOffset(at('2026-03-29T00:59:59Z'), 'Europe/Berlin')).toBe('UTC+01:00');
    expect(formatOffset(at('2026-03-29T01:00:00Z'), 'Europe/Berlin')).toBe('UTC+02:00');
  });

  it('show midnight as hour 00', () => {
    expect(formatTime(at('2026-01-01T00:00:00Z'), 'UTC')).toBe('2026-01-01 00:00:00');
    expect(hourOf(at('2026-01-01T00:30:00Z'), 'UTC')).toBe(0);
  });

  it('name negative and half-hour offsets', () => {
    expect(formatOffset(at('2026-01-01T00:00:00Z'), 'America/New_York')).toBe('UTC−05:00');
    expect(formatOffset(at('2026-01-01T00:00:00Z'), 'Asia/Kolkata')).toBe('UTC+05:30');
    expect(formatOffset(at('2026-01-01T00:00:00Z'), 'UTC')).toBe('UTC');
  });

  it('leave out what is the same as now', () => {
    const now = at('2026-11-23T12:00:00Z');
    expect(formatShort(at('2026-11-23T15:30:00Z'), 'UTC', now)).toBe('15:30:00');
    expect(formatShort(at('2026-11-24T15:30:00Z'), 'UTC', now)).toBe('11-24 15:30:00');
    expect(formatShort(at('2027-01-01T00:00:00Z'), 'UTC', now)).toBe('2027-01-01 00:00:00');
  });
});

describe('a local time that was typed in', () => {
  it.each(ZONES)('in %s reads back as it is shown', (zone) => {
    for (let day = 0; day < 365; day += 7) {
      const ms = at('2026-01-04T10:11:12Z') + day * 86_400_000;
      expect(zonedToMs(msToZoned(ms, zone), zone)).toBe(ms);
    }
  });

  it('in the hour that a clock change leaves out means the time after it', () => {
    expect(zonedToMs('2026-03-29T02:30', 'Europe/Berlin')).toBe(at('2026-03-29T01:30:00Z'));
  });

  it('in the hour that a clock change repeats means the first', () => {
    expect(zonedToMs('2026-10-25T02:30', 'Europe/Berlin')).toBe(at('2026-10-25T00:30:00Z'));
  });

  it.each(['', '2026-02-30T10:00', '2026-13-01T10:00', 'tomorrow', '2026-01-01'])(
    'is refused when it is %j',
    (text) => {
      expect(zonedToMs(text, 'UTC')).toBeNull();
    },
  );
});

it('says how far a time is from now', () => {
  const now = at('2026-11-23T12:00:00Z');
  expect(formatRelative(now + 400, now)).toBe('now');
  expect(formatRelative(now + 5_200, now)).toBe('in 5 s');
  expect(formatRelative(now - 184_000, now)).toBe('3 min 4 s ago');
});

it('knows zones from other words', () => {
  expect(isZone('Europe/Berlin')).toBe(true);
  expect(isZone('Europe/Atlantis')).toBe(false);
});

describe('ends of a pause', () => {
  it('are counted in the zone of the viewer, also on the day before a clock change', () => {
    expect(pauseEnds(at('2026-03-28T12:00:30Z'), 'Europe/Berlin')).toEqual([
      { name: '1 hour', local: '2026-03-28T14:01:00' },
      { name: '8 hours', local: '2026-03-28T21:01:00' },
      { name: 'Tomorrow at 9', local: '2026-03-29T09:00:00' },
      { name: 'Monday at 9', local: '2026-03-30T09:00:00' },
    ]);
  });

  it('find the next Monday on a Monday', () => {
    expect(pauseEnds(at('2026-11-23T23:30:00Z'), 'UTC').at(-1)?.local).toBe('2026-11-30T09:00:00');
  });
});
