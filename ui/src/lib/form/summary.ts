/** What is set in fields that are folded away, in a few words. */
import type { Field } from './fields.ts';
import { emptyField, type TaskForm } from './form.ts';
import type { Pair, Value } from './values.ts';

const LONGEST = 40;

/** "Label: value" of each field that holds something else than nothing. */
export function setWords(fields: readonly Field[], form: TaskForm): string[] {
  return fields
    .filter((field) => {
      const held = form.values[field.path] ?? emptyField(field);
      return JSON.stringify(held) !== JSON.stringify(emptyField(field));
    })
    .map((field) => {
      const words = valueWords(field, form.values[field.path] ?? '');
      return words ? `${field.label}: ${words}` : field.label;
    });
}

function valueWords({ options }: Field, value: Value): string {
  const named = (each: string) => options?.find((option) => option.value === each)?.label ?? each;
  if (typeof value === 'boolean') return '';
  if (typeof value === 'string') return clipped(named(value));
  const words = value.map((each) => (typeof each === 'string' ? named(each) : pairWords(each, named)));
  return clipped(words.join(', '));
}

function pairWords({ key, value }: Pair, named: (each: string) => string): string {
  return value ? `${key} ${named(value)}` : key;
}

function clipped(words: string): string {
  const [line = ''] = words.split('\n');
  return line.length > LONGEST || line !== words ? `${line.slice(0, LONGEST)}…` : words;
}
