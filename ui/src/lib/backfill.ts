/** What a dry run of a backfill says, in words. */
import type { BackfilledTime } from '../api/types.ts';
import { formatCount } from './duration.ts';
import { readValue } from './form/values.ts';
import { timeMs } from './time.ts';

export interface BackfillTexts {
  from: string;
  until: string;
  atMost: string;
  atOnce: string;
}

export type BackfillErrors = Partial<Record<keyof BackfillTexts, string>>;

export interface BackfillRange {
  startTime: string;
  endTime: string;
  maxExecutions?: number;
  maxRunning?: number;
}

/** What was typed, for the API; or what is wrong with it, by field. Dates and times are those of `zone`. */
export function readBackfill(
  texts: BackfillTexts,
  zone: string,
): { range: BackfillRange; errors?: never } | { range?: never; errors: BackfillErrors } {
  const errors: BackfillErrors = {};
  const read = (kind: 'instant' | 'integer', field: keyof BackfillTexts) => {
    const { value, error } = readValue(kind, texts[field], zone);
    if (error !== undefined) errors[field] = error;
    else if (kind === 'instant' && value === undefined) errors[field] = 'This is needed';
    return value;
  };
  const [startTime, endTime] = [String(read('instant', 'from')), String(read('instant', 'until'))];
  const [maxExecutions, maxRunning] = [read('integer', 'atMost'), read('integer', 'atOnce')];
  if (!errors.from && !errors.until && (timeMs(startTime) ?? 0) >= (timeMs(endTime) ?? 0))
    errors.until = 'This must lie after the beginning';
  if (Object.keys(errors).length) return { errors };
  return {
    range: {
      startTime,
      endTime,
      ...(typeof maxExecutions === 'number' ? { maxExecutions } : {}),
      ...(typeof maxRunning === 'number' ? { maxRunning } : {}),
    },
  };
}

const INPUTS: Record<string, keyof BackfillTexts> = {
  startTime: 'from',
  endTime: 'until',
  maxExecutions: 'atMost',
  maxRunning: 'atOnce',
};

/** The input that a field of the server stands for; undefined when it is about the task. */
export function backfillInput(field: string): keyof BackfillTexts | undefined {
  return INPUTS[field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())];
}

/** How many times there are, and for how many of them something is on record. */
export function backfillWords(times: readonly BackfilledTime[]): string {
  const recorded = times.filter(({ decided }) => decided?.length).length;
  const count = `${formatCount(times.length)} nominal ${times.length === 1 ? 'time' : 'times'}`;
  if (recorded === 0) return `${count}, ${times.length === 1 ? 'not yet' : 'none of them'} on record`;
  if (recorded === times.length) return times.length === 1 ? `${count}, already on record` : `${count}, all on record`;
  return `${count}, ${formatCount(recorded)} of them on record`;
}
