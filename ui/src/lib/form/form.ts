/** The form of a task: what it shows for a task, the task that it describes, and where a refusal belongs. */
import type { Task, TaskDefinition } from '../../api/types.ts';
import { utf8OrNull } from '../bytes.ts';
import {
  ACTION,
  ARGV,
  CHOICES,
  IDENTITY,
  NO_SCHEDULE,
  SCHEDULE,
  SCRIPT,
  SCRIPT_ARGUMENTS,
  SECTIONS,
  type Choice,
  type Field,
  type Variant,
} from './fields.ts';
import { emptyValue, isRecord, readValue, showValue, type Value } from './values.ts';

type Json = Record<string, unknown>;

export interface TaskForm {
  /** Zone of the dates and times that are typed in. */
  zone: string;
  /** The variant of each part of which there is one; JSON_VARIANT where the form has no fields for it. */
  variants: Record<string, string>;
  /** What each input holds, by the path of its field. */
  values: Record<string, Value>;
}

/** Why a field is wrong, by its path. */
export type FormErrors = Record<string, string>;

/** The variant in which a part is written as JSON. */
export const JSON_VARIANT = 'json';

const OUTPUT_ONLY = [
  ...['uid', 'etag', 'generation', 'state', 'createTime', 'updateTime', 'nextFireTime', 'lastFireTime'],
];
const PLAIN: readonly Field[] = [...IDENTITY, ...SECTIONS.flatMap(({ fields }) => fields)];

const VARIANTS = new Map<Choice, readonly Variant[]>(
  CHOICES.map((choice) => [
    choice,
    [...choice.variants, { value: JSON_VARIANT, label: 'JSON', fields: [jsonField(choice)] }],
  ]),
);

/** The variants of a part, the one as JSON included. */
export function variantsOf(choice: Choice): readonly Variant[] {
  return VARIANTS.get(choice) ?? choice.variants;
}

function jsonField(choice: Choice): Field {
  return {
    path: choice.path,
    kind: 'json',
    label: `${choice.path[0]?.toUpperCase() ?? ''}${choice.path.slice(1)} as JSON`,
    description: 'As the REST API takes it; its reference is at /docs',
    required: true,
    wide: true,
    code: true,
  };
}

function fieldsOf(choice: Choice): Field[] {
  const fields = variantsOf(choice).flatMap((variant) => variant.fields);
  return [...new Map(fields.map((field) => [field.path, field])).values()];
}

/** An empty form. */
export function emptyForm(zone: string): TaskForm {
  return show({}, zone);
}

/** The form of an existing task. */
export function formOf(task: Task, zone: string): TaskForm {
  return show(task, zone);
}

function show(task: Json, zone: string): TaskForm {
  const fields = [...PLAIN, ...CHOICES.flatMap(fieldsOf)];
  return {
    zone,
    variants: Object.fromEntries(CHOICES.map((choice) => [choice.path, variantOf(choice, task)])),
    values: Object.fromEntries(fields.map((field) => [field.path, shown(field, task, zone)])),
  };
}

/** Which variant a task has; the initial one when it has none. */
function variantOf(choice: Choice, task: Json): string {
  const part = task[choice.path];
  if (!isRecord(part)) return choice === SCHEDULE && Array.isArray(task.after) ? NO_SCHEDULE : choice.initial;
  if (choice === ACTION && isRecord(part.command)) return part.command.shell === true ? 'shell' : 'command';
  return choice.variants.find(({ value }) => part[value] !== undefined)?.value ?? JSON_VARIANT;
}

function shown(field: Field, task: Json, zone: string): Value {
  if (!isKnown(task, field)) return field.kind === 'zone' ? zone : (field.initial ?? emptyField(field));
  const value = raw(task, field.path);
  if (field.kind === 'choice') return chosen(field, value);
  if (field.kind === 'zone') return typeof value === 'string' && value !== '' ? value : 'UTC';
  return showValue(field.kind, value, zone);
}

/** Whether the task has the part that the field belongs to, so that what is not set there is the task's word. */
function isKnown(task: Json, field: Field): boolean {
  return Object.keys(task).length > 0 && isRecord(get(task, field.path.split('.').slice(0, -1)));
}

/** What a field holds when nothing is set. */
export function emptyField(field: Field): Value {
  return field.kind === 'choice' ? (field.options?.[0]?.value ?? '') : emptyValue(field.kind);
}

/** An option; the first for what is not set. */
function chosen(field: Field, value: unknown): string {
  const unset = typeof value !== 'string' || value === '' || value.endsWith('_UNSPECIFIED');
  return unset ? (field.options?.[0]?.value ?? '') : value;
}

/** Whether an input is there, as others are filled in. */
export function isShown({ only }: Field, form: TaskForm): boolean {
  if (only === undefined) return true;
  const held = form.values[only.path] ?? '';
  const all: readonly unknown[] = Array.isArray(held) ? held : [held];
  const upon = PLAIN.find(({ path }) => path === only.path);
  return only.values.some((value) => all.includes(value)) && (upon === undefined || isShown(upon, form));
}

/** Texts of the task that are not text but other bytes: the form cannot show them, so they can only be kept. */
export function binaryFields(task: Task): string[] {
  return CHOICES.flatMap(fieldsOf)
    .filter(({ kind }) => kind === 'bytes')
    .map(({ path }) => path)
    .filter((path) => {
      const value = raw(task, path);
      return typeof value === 'string' && utf8OrNull(value) === null;
    });
}

/**
 * The task that the form describes, or what of it cannot be read. Only the reading is checked here; what is allowed is
 * the server's to say. What of `base` the form has no field for is kept, and so is what was not touched.
 */
export function taskOf(form: TaskForm, base?: Task): { task: TaskDefinition; errors: FormErrors } {
  const errors: FormErrors = {};
  const before: Json = base ?? {};
  const task: Json = structuredClone(before);
  for (const field of OUTPUT_ONLY) Reflect.deleteProperty(task, field);
  const write = (field: Field, same: boolean) => {
    const result = readField(field, form, same ? before : {});
    if (result.error !== undefined) errors[field.path] = result.error;
    put(task, field.path, result.value);
  };
  for (const field of PLAIN) {
    if (field.kind === 'part') {
      put(task, field.path, form.values[field.path] === true ? (raw(task, field.path) ?? {}) : undefined);
    } else if (isShown(field, form)) write(field, true);
    else put(task, field.path, undefined);
  }
  for (const choice of CHOICES) {
    const wanted = form.variants[choice.path] ?? choice.initial;
    const had = isRecord(before[choice.path]) ? variantOf(choice, before) : undefined;
    if (wanted === NO_SCHEDULE) {
      put(task, choice.path, undefined);
      continue;
    }
    if (wanted !== JSON_VARIANT) task[choice.path] = partFor(choice, wanted, had, task[choice.path]);
    const fields = variantsOf(choice).find(({ value }) => value === wanted)?.fields ?? [];
    for (const field of fieldsOf(choice)) {
      if (fields.includes(field)) write(field, wanted === had || !field.path.startsWith(`${choice.path}.${wanted}`));
      else if (wanted !== JSON_VARIANT && field.kind !== 'json' && !samePath(fields, field)) {
        put(task, field.path, undefined);
      }
    }
  }
  joinScript(task, form.variants.action);
  return { task: task as unknown as TaskDefinition, errors };
}

function samePath(fields: readonly Field[], field: Field): boolean {
  return fields.some(({ path }) => path === field.path);
}

/** The part as it was when its variant stays, otherwise without what belongs to the other variants. */
function partFor(choice: Choice, wanted: string, had: string | undefined, part: unknown): Json {
  const key = wanted === 'shell' ? 'command' : wanted;
  if (!isRecord(part) || had === JSON_VARIANT) return { [key]: {} };
  if (wanted === had) return part;
  const members = new Set(choice.variants.map(({ value }) => value));
  const rest = Object.entries(part).filter(([name]) => !members.has(name) || name === key);
  return { [key]: {}, ...Object.fromEntries(rest) };
}

function readField(field: Field, form: TaskForm, before: Json): { value?: unknown; error?: string } {
  const typed = form.values[field.path] ?? emptyField(field);
  const same = isKnown(before, field) && JSON.stringify(typed) === JSON.stringify(shown(field, before, form.zone));
  const result = same ? { value: raw(before, field.path) } : readValue(field.kind, typed, form.zone);
  if (result.value === undefined && result.error === undefined && field.required === true) {
    return { error: 'This is needed' };
  }
  return result;
}

/** A script is argv[0] of a command that a shell runs; what follows are its arguments. */
function joinScript(task: Json, variant: string | undefined): void {
  const command = get(task, ['action', 'command']);
  if (!isRecord(command) || (variant !== 'shell' && variant !== 'command')) return;
  if (variant === 'shell') {
    const words = Array.isArray(command.scriptArguments) ? (command.scriptArguments as string[]) : [];
    command.argv = [typeof command.script === 'string' ? command.script : '', ...words];
    command.shell = true;
  } else if (command.shell === true) {
    command.shell = false;
  }
  delete command.script;
  delete command.scriptArguments;
}

/** What stands at a path of a task; the two halves of a shell's argv under the paths of their fields. */
function raw(task: Json, path: string): unknown {
  const command = get(task, ['action', 'command']);
  const shell = isRecord(command) && command.shell === true;
  const argv = isRecord(command) && Array.isArray(command.argv) ? (command.argv as string[]) : [];
  if (path === SCRIPT) return shell ? argv[0] : undefined;
  if (path === SCRIPT_ARGUMENTS) return shell ? argv.slice(1) : undefined;
  if (path === ARGV && shell) return undefined;
  return get(task, path.split('.'));
}

function get(value: unknown, path: readonly string[]): unknown {
  return path.reduce((part: unknown, key) => (isRecord(part) ? part[key] : undefined), value);
}

/** Set what stands at a path, or remove it. */
function put(task: Json, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  let part = task;
  for (const key of keys) {
    const inner = part[key];
    if (isRecord(inner)) part = inner;
    else if (value === undefined) return;
    else part = part[key] = {};
  }
  if (value === undefined) Reflect.deleteProperty(part, last);
  else part[last] = value;
}

const EDITABLE = [...new Set([...PLAIN, ...CHOICES].map(({ path }) => path.split('.')[0] ?? ''))].filter(
  (field) => field !== 'name',
);

/** The top-level fields in which two forms differ, for the update mask: an unchanged schedule keeps its generation. */
export function changedFields(before: TaskForm, after: TaskForm, base: Task): string[] {
  const old: Json = { ...taskOf(before, base).task };
  const edited: Json = { ...taskOf(after, base).task };
  return EDITABLE.filter((field) => JSON.stringify(old[field]) !== JSON.stringify(edited[field]));
}

/** Puts what the server refused beside the fields of the form; the rest is returned to be shown above it. */
export function placeViolations(
  violations: readonly { field: string; description: string }[],
  form: TaskForm,
): { errors: FormErrors; rest: string[] } {
  const errors: FormErrors = {};
  const rest: string[] = [];
  for (const { field, description } of violations) {
    const place = placeOf(field, form);
    const said = numbered({ field, description });
    if (place) errors[place] = [errors[place], said].filter(Boolean).join('; ');
    else rest.push(field ? `${field}: ${description}` : description);
  }
  return { errors, rest };
}

/** What is wrong; of an item of a list, with its place in the list. */
export function numbered({ field, description }: { field: string; description: string }): string {
  const index = /\[(\d+)\]/.exec(field)?.[1];
  return index === undefined ? description : `number ${String(Number(index) + 1)}: ${description}`;
}

/** The field of the form that a path of the server is in, or else the first one that is in it. */
function placeOf(field: string, form: TaskForm): string | undefined {
  const camel = field.replace(/^task\./, '').replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const path = camel === ARGV && form.variants.action === 'shell' ? SCRIPT : camel;
  const inPart = CHOICES.flatMap(
    (choice) => variantsOf(choice).find(({ value }) => value === form.variants[choice.path])?.fields ?? [],
  );
  const there = [...PLAIN, ...inPart].filter((each) => isShown(each, form)).map((each) => each.path);
  const within = (inner: string, outer: string) =>
    inner.startsWith(outer) && /^($|[.[])/.test(inner.slice(outer.length));
  const around = there.filter((each) => within(path, each)).toSorted((a, b) => b.length - a.length);
  return around[0] ?? (path ? there.find((each) => within(each, path)) : undefined);
}
