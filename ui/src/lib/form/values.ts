/** How each kind of field turns a value of the API's JSON into what is typed, and back. */
import { lossyUtf8, toBase64 } from '../bytes.ts';
import { exclusionLines, readExclusions } from './exclusions.ts';
import { editableDuration, parseDurationMs, protoDurationMs, toProtoDuration } from '../duration.ts';
import { msToZoned, timeMs, zonedToMs } from '../time.ts';
import { joinWords, splitWords } from '../words.ts';

export interface Pair {
  key: string;
  value: string;
}

/** What an input holds. */
export type Value = string | boolean | string[] | Pair[];

/** The value for the API, undefined to leave the field out; or why there is none. */
export interface Read {
  value?: unknown;
  error?: string;
}

interface Codec {
  empty: Value;
  show: (value: unknown, zone: string) => Value;
  read: (shown: Value, zone: string) => Read;
}

const text: Codec = {
  empty: '',
  show: (value) => (typeof value === 'string' ? value : ''),
  read: (shown) => left(String(shown).trim()),
};

const CODECS = {
  text,
  /** One of the field's options; the first one stands for what is not set. */
  choice: text,
  /** Name of a time zone. */
  zone: text,
  /** Name of a group. */
  group: text,
  /** Several lines, kept as they are. */
  area: { ...text, read: (shown) => left(String(shown)) },
  bytes: {
    empty: '',
    show: (value) => lossyUtf8(typeof value === 'string' ? value : ''),
    read: (shown) => (shown === '' ? {} : { value: toBase64(String(shown)) }),
  },
  boolean: {
    empty: false,
    show: (value) => value === true,
    read: (shown) => (shown === true ? { value: true } : {}),
  },
  /** Whether the task has the part that the fields behind it describe. */
  part: { empty: false, show: (value) => value !== undefined, read: () => ({}) },
  /** An integer; 0 stands for what is not set. */
  integer: {
    empty: '',
    show: (value) => (value === undefined || Number(value) === 0 ? '' : String(value)),
    read: (shown) => {
      const typed = String(shown).trim();
      if (typed === '') return {};
      return /^-?\d{1,15}$/.test(typed) ? { value: Number(typed) } : { error: 'Write a whole number' };
    },
  },
  duration: {
    empty: '',
    show: (value) => {
      const ms = protoDurationMs(typeof value === 'string' ? value : undefined);
      return ms === undefined ? '' : editableDuration(ms);
    },
    read: (shown) => {
      if (String(shown).trim() === '') return {};
      const ms = parseDurationMs(String(shown));
      return ms === null
        ? { error: 'Write a length of time, such as 30s, 5m or 1h30m' }
        : { value: toProtoDuration(ms) };
    },
  },
  /** A date and time in the zone of the form. */
  instant: {
    empty: '',
    show: (value, zone) => {
      const ms = timeMs(typeof value === 'string' ? value : undefined);
      return ms === undefined ? '' : msToZoned(ms, zone);
    },
    read: (shown, zone) => {
      if (shown === '') return {};
      const ms = zonedToMs(String(shown), zone);
      return ms === null ? { error: 'Choose a date and a time' } : { value: new Date(ms).toISOString() };
    },
  },
  /** A map of texts. */
  pairs: {
    empty: [],
    show: (value) =>
      Object.entries(isRecord(value) ? value : {})
        .map(([key, item]) => ({ key, value: String(item) }))
        .toSorted((a, b) => a.key.localeCompare(b.key)),
    read: (shown) => readPairs(shown as Pair[]),
  },
  /** Tasks, each with how it is to end. */
  parents: {
    empty: [],
    show: (value) =>
      (Array.isArray(value) ? value : []).filter(isRecord).map(({ task, on }) => ({
        key: String(task ?? ''),
        value: typeof on === 'string' && !on.endsWith('_UNSPECIFIED') ? on : 'CHAIN_CONDITION_SUCCESS',
      })),
    read: (shown) => {
      const { value, error } = readPairs(shown as Pair[]);
      if (error !== undefined || value === undefined) return error === undefined ? {} : { error };
      return { value: Object.entries(isRecord(value) ? value : {}).map(([task, on]) => ({ task, on })) };
    },
  },
  /** Days and windows that a schedule leaves out, a line for each. */
  exclusions: {
    empty: '',
    show: (value, zone) => exclusionLines((Array.isArray(value) ? value : []).filter(isRecord), zone),
    read: (shown, zone) => readExclusions(String(shown), zone),
  },
  /** Words as a shell splits them. */
  words: {
    empty: '',
    show: (value) => joinWords(strings(value)),
    read: (shown) => {
      const words = splitWords(String(shown));
      if (!words) return { error: 'A quote is not closed' };
      return words.length ? { value: words } : {};
    },
  },
  /** Names of calendars. */
  calendars: {
    empty: [],
    show: strings,
    read: (shown) => ((shown as string[]).length ? { value: shown } : {}),
  },
  list: {
    empty: [],
    show: strings,
    read: (shown) => ((shown as string[]).length ? { value: shown } : {}),
  },
  integers: {
    empty: [],
    show: strings,
    read: (shown) => {
      const typed = (shown as string[]).map((each) => each.trim());
      if (typed.some((each) => !/^-?\d{1,9}$/.test(each))) return { error: 'These are whole numbers' };
      return typed.length ? { value: typed.map(Number) } : {};
    },
  },
  /** Any part of the task, as JSON. */
  json: {
    empty: '',
    show: (value) => (value === undefined ? '' : JSON.stringify(value, null, 2)),
    read: (shown) => {
      if (String(shown).trim() === '') return {};
      try {
        return { value: JSON.parse(String(shown)) as unknown };
      } catch (error) {
        return { error: `This is not JSON: ${error instanceof Error ? error.message : String(error)}` };
      }
    },
  },
} satisfies Record<string, Codec>;

export type FieldKind = keyof typeof CODECS;

/** What an input shows for a value of the API. */
export function showValue(kind: FieldKind, value: unknown, zone: string): Value {
  return CODECS[kind].show(value, zone);
}

/** What an input means. */
export function readValue(kind: FieldKind, shown: Value, zone: string): Read {
  return CODECS[kind].read(shown, zone);
}

/** What an input holds when nothing is typed. */
export function emptyValue(kind: FieldKind): Value {
  return CODECS[kind].empty;
}

function left(typed: string): Read {
  return typed === '' ? {} : { value: typed };
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function readPairs(pairs: readonly Pair[]): Read {
  const rows = pairs.filter(({ key, value }) => key.trim() !== '' || value !== '');
  const keys = rows.map(({ key }) => key.trim());
  if (keys.includes('')) return { error: 'A row has a value and no key' };
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined) return { error: `${twice} is there twice` };
  return rows.length ? { value: Object.fromEntries(rows.map(({ key, value }) => [key.trim(), value])) } : {};
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
