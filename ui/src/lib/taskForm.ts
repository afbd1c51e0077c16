import type { Action, Delivery, MisfirePolicy, Schedule, Task, TaskDefinition } from '../api/types.ts';
import { lossyUtf8, toBase64, utf8OrNull } from './bytes.ts';
import { editableDuration, parseDurationMs, protoDurationMs, toProtoDuration } from './duration.ts';
import { msToZoned, timeMs, zonedToMs } from './time.ts';
import { joinWords, splitWords } from './words.ts';

export interface Pair {
  key: string;
  value: string;
}

/** What the form holds: text as it was typed. */
export interface TaskForm {
  name: string;
  labels: Pair[];
  executorLabels: Pair[];
  scheduleKind: 'cron' | 'interval' | 'at';
  /** Zone of the dates and times that are typed in. */
  zone: string;
  at: string;
  cronExpression: string;
  cronZone: string;
  every: string;
  anchor: string;
  startTime: string;
  endTime: string;
  actionKind: 'command' | 'shell' | 'http' | 'python' | 'noop';
  commandLine: string;
  script: string;
  scriptArguments: string;
  env: Pair[];
  workingDirectory: string;
  stdin: string;
  method: string;
  url: string;
  headers: Pair[];
  body: string;
  expectedStatuses: string[];
  callable: string;
  kwargsJson: string;
  timeLimit: string;
  misfirePolicy: MisfirePolicy;
  misfireThreshold: string;
  delivery: Delivery;
  paused: boolean;
}

/** Each field that is wrong, and why. */
export type FormErrors = Partial<Record<keyof TaskForm, string>>;

/** An empty form. */
export function emptyForm(zone: string): TaskForm {
  return {
    name: '',
    labels: [],
    executorLabels: [],
    scheduleKind: 'cron',
    zone,
    at: '',
    cronExpression: '*/5 * * * *',
    cronZone: zone,
    every: '5m',
    anchor: '',
    startTime: '',
    endTime: '',
    actionKind: 'command',
    commandLine: '',
    script: '',
    scriptArguments: '',
    env: [],
    workingDirectory: '',
    stdin: '',
    method: 'GET',
    url: '',
    headers: [],
    body: '',
    expectedStatuses: [],
    callable: '',
    kwargsJson: '',
    timeLimit: '',
    misfirePolicy: 'MISFIRE_POLICY_ONE',
    misfireThreshold: '10s',
    delivery: 'DELIVERY_AT_LEAST_ONCE',
    paused: false,
  };
}

/** The form of an existing task. */
export function formOf(task: Task, zone: string): TaskForm {
  const { schedule = {}, action = {} } = task;
  const local = (time: string | undefined) => {
    const ms = timeMs(time);
    return ms === undefined ? '' : msToZoned(ms, zone);
  };
  const limit = protoDurationMs(task.timeLimit);
  return {
    ...emptyForm(zone),
    name: task.name,
    labels: pairs(task.labels),
    executorLabels: pairs(task.executorLabels),
    scheduleKind: schedule.at ? 'at' : schedule.interval ? 'interval' : 'cron',
    at: local(schedule.at),
    startTime: local(schedule.startTime),
    endTime: local(schedule.endTime),
    ...(schedule.cron
      ? { cronExpression: schedule.cron.expression ?? '', cronZone: schedule.cron.timeZone ?? 'UTC' }
      : {}),
    ...(schedule.interval
      ? {
          every: editableDuration(protoDurationMs(schedule.interval.every) ?? 0),
          anchor: local(schedule.interval.anchor),
        }
      : {}),
    ...actionFields(action),
    timeLimit: limit === undefined ? '' : editableDuration(limit),
    misfirePolicy: task.misfirePolicy ?? 'MISFIRE_POLICY_ONE',
    misfireThreshold: editableDuration(protoDurationMs(task.misfireThreshold) ?? 10_000),
    delivery: task.delivery ?? 'DELIVERY_AT_LEAST_ONCE',
    paused: task.paused ?? false,
  };
}

function actionFields({ command, http, python, noop }: Action): Partial<TaskForm> {
  if (command) {
    const argv = command.argv ?? [];
    return {
      actionKind: command.shell ? 'shell' : 'command',
      ...(command.shell
        ? { script: argv[0] ?? '', scriptArguments: joinWords(argv.slice(1)) }
        : { commandLine: joinWords(argv) }),
      env: pairs(command.env),
      workingDirectory: command.workingDirectory ?? '',
      stdin: lossyUtf8(command.stdin),
    };
  }
  if (http) {
    return {
      actionKind: 'http',
      method: http.method || 'GET',
      url: http.url ?? '',
      headers: pairs(http.headers),
      body: lossyUtf8(http.body),
      expectedStatuses: (http.expectedStatuses ?? []).map(String),
    };
  }
  if (python) return { actionKind: 'python', callable: python.callable ?? '', kwargsJson: python.kwargsJson ?? '' };
  return noop ? { actionKind: 'noop' } : {};
}

/** Bytes of the task that are not text: the form cannot show them, so they can only be kept. */
export function binaryFields(task: Task): ('stdin' | 'body')[] {
  const found: ('stdin' | 'body')[] = [];
  if (utf8OrNull(task.action?.command?.stdin) === null) found.push('stdin');
  if (utf8OrNull(task.action?.http?.body) === null) found.push('body');
  return found;
}

/**
 * The task that the form describes, or what of it cannot be read. Only the reading is checked here; what is allowed is
 * the server's to say. Parts of `base` that the form cannot show are kept.
 */
export function taskOf(form: TaskForm, base?: Task): { task: TaskDefinition; errors: FormErrors } {
  const errors: FormErrors = {};
  const duration = (field: 'every' | 'timeLimit' | 'misfireThreshold') => {
    const ms = parseDurationMs(form[field]);
    if (ms === null) errors[field] = 'Write a length of time, such as 30s, 5m or 1h30m';
    return toProtoDuration(ms ?? 0);
  };
  const instant = (field: 'at' | 'anchor' | 'startTime' | 'endTime') => {
    const ms = zonedToMs(form[field], form.zone);
    if (ms === null) errors[field] = 'Choose a date and a time';
    return new Date(ms ?? 0).toISOString();
  };
  const words = (field: 'commandLine' | 'scriptArguments') => {
    const found = splitWords(form[field]);
    if (!found) errors[field] = 'A quote is not closed';
    return found ?? [];
  };
  const map = (field: 'labels' | 'executorLabels' | 'env' | 'headers') => {
    const rows = form[field].filter((pair) => pair.key.trim() !== '' || pair.value !== '');
    if (rows.some((pair) => pair.key.trim() === '')) errors[field] = 'A row has a value and no key';
    const keys = rows.map((pair) => pair.key.trim());
    const twice = keys.find((key, index) => keys.indexOf(key) !== index);
    if (twice !== undefined) errors[field] = `${twice} is there twice`;
    return Object.fromEntries(rows.map((pair) => [pair.key.trim(), pair.value]));
  };
  const statuses = () => {
    if (form.expectedStatuses.some((text) => !/^\d{3}$/.test(text.trim()))) {
      errors.expectedStatuses = 'Statuses are numbers of three digits';
    }
    return form.expectedStatuses.map(Number).filter((status) => !Number.isNaN(status));
  };

  const schedule: Schedule = {
    ...(form.scheduleKind === 'at' ? { at: instant('at') } : {}),
    ...(form.scheduleKind === 'cron'
      ? { cron: { expression: form.cronExpression.trim(), timeZone: form.cronZone } }
      : {}),
    ...(form.scheduleKind === 'interval'
      ? { interval: { every: duration('every'), ...(form.anchor ? { anchor: instant('anchor') } : {}) } }
      : {}),
    ...(form.startTime ? { startTime: instant('startTime') } : {}),
    ...(form.endTime ? { endTime: instant('endTime') } : {}),
  };
  const action = (): Action => {
    switch (form.actionKind) {
      case 'noop':
        return { noop: {} };
      case 'python':
        return { python: { callable: form.callable.trim(), kwargsJson: form.kwargsJson } };
      case 'http':
        return {
          http: {
            method: form.method,
            url: form.url.trim(),
            headers: map('headers'),
            body: bytes(form.body, base?.action?.http?.body),
            expectedStatuses: statuses(),
          },
        };
      default:
        return {
          command: {
            argv: form.actionKind === 'shell' ? [form.script, ...words('scriptArguments')] : words('commandLine'),
            shell: form.actionKind === 'shell',
            env: map('env'),
            workingDirectory: form.workingDirectory,
            stdin: bytes(form.stdin, base?.action?.command?.stdin),
          },
        };
    }
  };
  const task: TaskDefinition = {
    ...kept(base),
    name: form.name.trim(),
    labels: map('labels'),
    schedule,
    action: action(),
    ...(form.timeLimit.trim() ? { timeLimit: duration('timeLimit') } : {}),
    paused: form.paused,
    executorLabels: map('executorLabels'),
    misfirePolicy: form.misfirePolicy,
    misfireThreshold: duration('misfireThreshold'),
    delivery: form.delivery,
  };
  return { task, errors };
}

/** What the form has no field for, so that a copy of a task has it too. */
function kept(base: Task | undefined): Partial<TaskDefinition> {
  const fields = ['overlapPolicy', 'maxRunning', 'maxQueued', 'retry', 'startDeadline', 'priority', 'jitter'] as const;
  return Object.fromEntries(
    fields.filter((field) => base?.[field] !== undefined).map((field) => [field, base?.[field]]),
  );
}

/** The bytes that were there when the text still shows them (they may not be UTF-8), otherwise those of the text. */
function bytes(text: string, before: string | undefined): string {
  return before !== undefined && lossyUtf8(before) === text ? before : toBase64(text);
}

function pairs(map: Record<string, string> | undefined): Pair[] {
  return Object.entries(map ?? {})
    .map(([key, value]) => ({ key, value }))
    .toSorted((a, b) => a.key.localeCompare(b.key));
}

const EDITABLE = [
  ...(['labels', 'schedule', 'action', 'timeLimit', 'paused'] as const),
  ...(['executorLabels', 'misfirePolicy', 'misfireThreshold', 'delivery'] as const),
];

/** The top-level fields in which two forms differ, for the update mask: an unchanged schedule keeps its generation. */
export function changedFields(before: TaskForm, after: TaskForm, base: Task): string[] {
  const old = taskOf(before, base).task;
  const edited = taskOf(after, base).task;
  return EDITABLE.filter((field) => JSON.stringify(old[field]) !== JSON.stringify(edited[field]));
}

const FIELD_OF_PATH: [RegExp, (form: TaskForm) => keyof TaskForm][] = [
  [/^labels/, () => 'labels'],
  [/^executorLabels/, () => 'executorLabels'],
  [/^name/, () => 'name'],
  [/^schedule\.cron\.timeZone/, () => 'cronZone'],
  [/^schedule\.cron/, () => 'cronExpression'],
  [/^schedule\.interval\.anchor/, () => 'anchor'],
  [/^schedule\.interval/, () => 'every'],
  [/^schedule\.at/, () => 'at'],
  [/^schedule\.startTime/, () => 'startTime'],
  [/^schedule\.endTime/, () => 'endTime'],
  [/^schedule/, (form) => (({ cron: 'cronExpression', interval: 'every', at: 'at' }) as const)[form.scheduleKind]],
  [/^action\.command\.env/, () => 'env'],
  [/^action\.command\.workingDirectory/, () => 'workingDirectory'],
  [/^action\.command\.stdin/, () => 'stdin'],
  [/^action\.command/, (form) => (form.actionKind === 'shell' ? 'script' : 'commandLine')],
  [/^action\.http\.method/, () => 'method'],
  [/^action\.http\.headers/, () => 'headers'],
  [/^action\.http\.body/, () => 'body'],
  [/^action\.http\.expectedStatuses/, () => 'expectedStatuses'],
  [/^action\.http/, () => 'url'],
  [/^action\.python\.kwargsJson/, () => 'kwargsJson'],
  [/^action\.python/, () => 'callable'],
  [/^timeLimit/, () => 'timeLimit'],
  [/^misfirePolicy/, () => 'misfirePolicy'],
  [/^misfireThreshold/, () => 'misfireThreshold'],
  [/^delivery/, () => 'delivery'],
];

/** Puts what the server refused beside the fields of the form; the rest is returned to be shown above it. */
export function placeViolations(
  violations: readonly { field: string; description: string }[],
  form: TaskForm,
): { errors: FormErrors; rest: string[] } {
  const errors: FormErrors = {};
  const rest: string[] = [];
  for (const { field, description } of violations) {
    const path = field.replace(/^task\./, '').replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const place = FIELD_OF_PATH.find(([pattern]) => pattern.test(path))?.[1](form);
    if (place) errors[place] = [errors[place], description].filter(Boolean).join('; ');
    else rest.push(field ? `${field}: ${description}` : description);
  }
  return { errors, rest };
}
