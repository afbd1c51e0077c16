/** Milliseconds of a protobuf JSON duration such as "1.5s"; undefined when there is none. */
export function protoDurationMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^(-?\d+(?:\.\d+)?)s$/.exec(text)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
type Unit = keyof typeof UNITS_MS;

/** Reads what people type, such as "90", "5m", "1h 30m" or "250ms"; a bare number means seconds. Null when unreadable. */
export function parseDurationMs(text: string): number | null {
  const trimmed = text.trim().toLowerCase();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1000);
  if (!/^(\d+(\.\d+)?\s*(ms|min|[smhdw])\s*)+$/.test(trimmed)) return null;
  let total = 0;
  for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])/g)) {
    total += Number(amount) * UNITS_MS[unit as Unit];
  }
  return Math.round(total);
}

/** A protobuf JSON duration. */
export function toProtoDuration(ms: number): string {
  return `${String(Math.round(ms) / 1000)}s`;
}

/** What parseDurationMs reads, as short as possible: 5400000 is "1h30m". */
export function editableDuration(ms: number): string {
  let rest = Math.round(ms);
  let text = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const amount = Math.floor(rest / UNITS_MS[unit]);
    if (amount > 0) text += `${String(amount)}${unit}`;
    rest -= amount * UNITS_MS[unit];
  }
  return text || '0s';
}

/** For reading, with at most two units: "850 ms", "4.2 s", "3 min 5 s", "2 d 4 h". */
export function formatDuration(ms: number): string {
  const sign = ms < 0 ? '−' : '';
  const size = Math.abs(ms);
  if (size < 999.5) return `${sign}${String(Math.round(size))} ms`;
  if (size < 9_950) return `${sign}${(size / 1000).toFixed(1)} s`;
  const seconds = Math.round(size / 1000);
  if (seconds < 60) return `${sign}${String(seconds)} s`;
  if (seconds < 3600) return sign + two(seconds, 60, 'min', 1, 's');
  if (seconds < 86_400) return sign + two(seconds, 3600, 'h', 60, 'min');
  return sign + two(seconds, 86_400, 'd', 3600, 'h');
}

function two(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small);
  const head = `${String(Math.floor(seconds / large))} ${largeUnit}`;
  return rest ? `${head} ${String(rest)} ${smallUnit}` : head;
}

/** "820 B", "4.0 KiB", "1.2 MiB". */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${String(bytes)} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes / 1024;
  let index = 0;
  while (size >= 1024 && index < units.length - 1) {
    size /= 1024;
    index += 1;
  }
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[index] ?? ''}`;
}

const integer = new Intl.NumberFormat('en');

/** An int64 of the API, which JSON carries as a string, with separators. */
export function formatCount(value: string | number | undefined): string {
  return integer.format(typeof value === 'string' ? BigInt(value) : (value ?? 0));
}
