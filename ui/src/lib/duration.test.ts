import { describe, expect, it } from 'vitest';
import {
  editableDuration,
  formatBytes,
  formatCount,
  formatDuration,
  parseDurationMs,
  protoDurationMs,
  toProtoDuration,
} from './duration.ts';

describe('durations', () => {
  it.each([
    ['90', 90_000],
    ['30s', 30_000],
    ['1h30m', 5_400_000],
    ['1h 30min', 5_400_000],
    ['250ms', 250],
    ['1.5s', 1500],
    ['2d', 172_800_000],
  ])('reads %s as people mean it', (text, ms) => {
    expect(parseDurationMs(text)).toBe(ms);
  });

  it.each(['', 'soon', '5x', '-5s', 'h', '1h-', '1..5s'])('refuses %j', (text) => {
    expect(parseDurationMs(text)).toBeNull();
  });

  it.each([0, 1, 999, 1000, 61_000, 5_400_000, 90_061_001])('shows %d ms in a form that it reads back', (ms) => {
    expect(parseDurationMs(editableDuration(ms))).toBe(ms);
    expect(protoDurationMs(toProtoDuration(ms))).toBe(ms);
  });

  it.each([
    [0, '0 ms'],
    [850.4, '850 ms'],
    [999.6, '1.0 s'],
    [4_210, '4.2 s'],
    [9_960, '10 s'],
    [59_600, '1 min'],
    [185_000, '3 min 5 s'],
    [7_500_000, '2 h 5 min'],
    [187_200_000, '2 d 4 h'],
    [-1500, '−1.5 s'],
  ])('shows %d ms with at most two units', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it('has no duration where the API gives none', () => {
    expect(protoDurationMs(undefined)).toBeUndefined();
    expect(protoDurationMs('5 minutes')).toBeUndefined();
  });
});

it('shows bytes in binary units', () => {
  expect([820, 4096, 65_536, 3 * 1024 ** 3].map(formatBytes)).toEqual(['820 B', '4.0 KiB', '64 KiB', '3.0 GiB']);
});

it('shows 64-bit counts without losing digits', () => {
  expect(formatCount('9007199254740993')).toBe('9,007,199,254,740,993');
});
