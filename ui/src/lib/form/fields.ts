/** The fields of the form: where each stands in the task, and how it is typed. Simple ones come from the protocol. */
import { TASK_FIELDS } from './taskFields.ts';
import type { FieldKind, Value } from './values.ts';

export interface Field {
  /** Where it stands in the task, in the API's JSON. */
  path: string;
  kind: FieldKind;
  label: string;
  description?: string;
  placeholder?: string;
  required?: boolean;
  /** What an empty form holds. */
  initial?: Value;
  options?: readonly { value: string; label: string }[];
  /** Most do without it: it is folded away. */
  rare?: true;
  /** Takes the whole width. */
  wide?: boolean;
  /** Is code: in a monospaced face. */
  code?: boolean;
  /** What one row of pairs is called. */
  noun?: string;
  /** Is there only while another field of the form is there and holds one of these. */
  only?: { path: string; values: readonly Value[] };
}

/** One of several forms that a part of the task can take. */
export interface Variant {
  value: string;
  label: string;
  hint?: string;
  fields: readonly Field[];
}

/** A part of the task of which there is one variant, such as the schedule. */
export interface Choice {
  /** Where it stands in the task. */
  path: string;
  label: string;
  initial: string;
  variants: readonly Variant[];
  /** There whatever the variant is. */
  common?: readonly Field[];
}

/** The simple fields of a part of the form. */
function simple(section: string): readonly Field[] {
  return TASK_FIELDS.filter((field) => field.section === section);
}

export const IDENTITY: readonly Field[] = [
  {
    path: 'name',
    kind: 'text',
    label: 'Name',
    description: 'Letters, digits, dot, hyphen and underscore',
    required: true,
    wide: true,
  },
  { path: 'labels', kind: 'pairs', label: 'Labels', noun: 'Label', wide: true },
];

const VALIDITY: readonly Field[] = [
  {
    path: 'schedule.startTime',
    rare: true,
    kind: 'instant',
    label: 'Not before',
    description: 'Empty: from the beginning',
  },
  { path: 'schedule.endTime', rare: true, kind: 'instant', label: 'Ends', description: 'Empty: never' },
  {
    path: 'schedule.calendars',
    rare: true,
    kind: 'calendars',
    label: 'Calendars',
    description: 'What these exclude is left out too',
    wide: true,
  },
  {
    path: 'schedule.exclusions',
    rare: true,
    kind: 'exclusions',
    label: 'Leaves out',
    description: 'A day, days or a window in each line, and why',
    placeholder: '2026-12-24..2026-12-26 Christmas',
    wide: true,
    code: true,
  },
];

/** What is done when the clock of a zone is put forward or back. */
function clockChanges(path: string): Field[] {
  return [
    {
      path: `${path}.gap`,
      rare: true,
      kind: 'choice',
      label: 'Left out by a clock change',
      description: 'Local times that do not come that day',
      options: [
        { value: 'GAP_POLICY_UNSPECIFIED', label: 'As cron does' },
        { value: 'GAP_POLICY_SHIFT', label: 'Fire at the end of the gap' },
        { value: 'GAP_POLICY_SKIP', label: 'Do not fire' },
      ],
    },
    {
      path: `${path}.fold`,
      rare: true,
      kind: 'choice',
      label: 'Repeated by a clock change',
      description: 'Local times that come twice that day',
      options: [
        { value: 'FOLD_POLICY_UNSPECIFIED', label: 'As cron does' },
        { value: 'FOLD_POLICY_FIRST', label: 'Fire the first time' },
        { value: 'FOLD_POLICY_LAST', label: 'Fire the last time' },
        { value: 'FOLD_POLICY_BOTH', label: 'Fire both times' },
      ],
    },
  ];
}

/** The variant of a task that runs only after others. */
export const NO_SCHEDULE = 'none';

export const SCHEDULE: Choice = {
  path: 'schedule',
  label: 'Kind of schedule',
  initial: 'cron',
  variants: [
    {
      value: 'cron',
      label: 'Cron',
      fields: [
        {
          path: 'schedule.cron.expression',
          kind: 'text',
          label: 'Cron expression',
          description: 'minute hour day month weekday',
          required: true,
          code: true,
          initial: '*/5 * * * *',
        },
        {
          path: 'schedule.cron.timeZone',
          kind: 'zone',
          label: 'Time zone',
          description: 'In which it is read',
        },
        ...clockChanges('schedule.cron'),
        ...VALIDITY,
      ],
    },
    {
      value: 'interval',
      label: 'Interval',
      fields: [
        {
          path: 'schedule.interval.every',
          kind: 'duration',
          label: 'Every',
          description: 'Such as 30s, 5m or 1h30m',
          required: true,
          initial: '5m',
        },
        {
          path: 'schedule.interval.anchor',
          kind: 'instant',
          label: 'Counted from',
          description: 'Empty: the time of registration',
        },
        ...VALIDITY,
      ],
    },
    {
      value: 'at',
      label: 'Once',
      fields: [{ path: 'schedule.at', kind: 'instant', label: 'At', required: true }],
    },
    {
      value: 'rrule',
      label: 'RRULE',
      fields: [
        {
          path: 'schedule.rrule.lines',
          kind: 'area',
          label: 'Recurrence rule',
          description: 'RFC 5545: a rule, or the lines RRULE, DTSTART, RDATE and EXDATE of an event',
          placeholder: 'FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18',
          required: true,
          wide: true,
          code: true,
        },
        {
          path: 'schedule.rrule.timeZone',
          kind: 'zone',
          label: 'Time zone',
          description: 'Unless the lines name one',
        },
        ...clockChanges('schedule.rrule'),
        ...VALIDITY,
      ],
    },
    {
      value: 'union',
      label: 'Several',
      hint: 'It fires at every nominal time of any of the schedules, once.',
      fields: [
        {
          path: 'schedule.union.schedules',
          kind: 'json',
          label: 'Schedules',
          description: 'A list of up to 16, as the REST API takes them',
          initial: JSON.stringify(
            [{ cron: { expression: '0 9 * * mon-fri' } }, { cron: { expression: '0 11 * * sat,sun' } }],
            null,
            2,
          ),
          required: true,
          wide: true,
          code: true,
        },
        ...VALIDITY,
      ],
    },
    {
      value: NO_SCHEDULE,
      label: 'None',
      hint: 'It runs after the tasks that are named below, or by hand.',
      fields: [],
    },
  ],
};

const PROCESS: readonly Field[] = [
  { path: 'action.command.env', rare: true, kind: 'pairs', label: 'Environment', noun: 'Variable', wide: true },
  {
    path: 'action.command.workingDirectory',
    rare: true,
    kind: 'text',
    label: 'Working directory',
    description: 'Empty: one that the executor makes',
    code: true,
    wide: true,
  },
  { path: 'action.command.stdin', rare: true, kind: 'bytes', label: 'Standard input', wide: true, code: true },
];

/** The words of a command. */
export const ARGV = 'action.command.argv';
/** The script of a shell and its arguments: argv[0] and the rest. */
export const SCRIPT = 'action.command.script';
export const SCRIPT_ARGUMENTS = 'action.command.scriptArguments';

export const ACTION: Choice = {
  path: 'action',
  label: 'Kind of action',
  initial: 'command',
  variants: [
    {
      value: 'command',
      label: 'Command',
      fields: [
        {
          path: ARGV,
          kind: 'words',
          label: 'Command line',
          description: 'A program and its arguments, without a shell; quotes keep an argument together',
          required: true,
          wide: true,
          code: true,
        },
        ...PROCESS,
      ],
    },
    {
      value: 'shell',
      label: 'Shell',
      fields: [
        {
          path: SCRIPT,
          kind: 'area',
          label: 'Script',
          description: 'For /bin/sh',
          required: true,
          wide: true,
          code: true,
        },
        {
          path: SCRIPT_ARGUMENTS,
          kind: 'words',
          label: 'Arguments',
          description: '$1, $2 and so on',
          wide: true,
          code: true,
        },
        ...PROCESS,
      ],
    },
    {
      value: 'http',
      label: 'HTTP',
      fields: [
        {
          path: 'action.http.method',
          kind: 'choice',
          label: 'Method',
          options: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD'].map((value) => ({ value, label: value })),
        },
        {
          path: 'action.http.url',
          kind: 'text',
          label: 'URL',
          placeholder: 'https://',
          required: true,
          code: true,
        },
        { path: 'action.http.headers', rare: true, kind: 'pairs', label: 'Headers', noun: 'Header', wide: true },
        { path: 'action.http.body', kind: 'bytes', label: 'Body', wide: true, code: true },
        {
          path: 'action.http.expectedStatuses',
          rare: true,
          kind: 'integers',
          label: 'Expected statuses',
          description: 'Empty: any from 200 to 299',
          wide: true,
        },
      ],
    },
    {
      value: 'python',
      label: 'Python',
      fields: [
        {
          path: 'action.python.callable',
          kind: 'text',
          label: 'Callable',
          description: 'An entry point, or package.module:function that the nodes allow',
          required: true,
          wide: true,
          code: true,
        },
        {
          path: 'action.python.kwargsJson',
          kind: 'area',
          label: 'Keyword arguments',
          description: 'A JSON object; empty for none',
          wide: true,
          code: true,
        },
      ],
    },
    {
      value: 'grpc',
      label: 'gRPC',
      fields: [
        {
          path: 'action.grpc.target',
          kind: 'text',
          label: 'Target',
          placeholder: 'host:port',
          required: true,
          code: true,
        },
        {
          path: 'action.grpc.method',
          kind: 'text',
          label: 'Method',
          placeholder: 'package.Service/Method',
          required: true,
          code: true,
        },
        {
          path: 'action.grpc.requestJson',
          kind: 'area',
          label: 'Request',
          description: "In protobuf's JSON mapping; empty: {}",
          wide: true,
          code: true,
        },
        { path: 'action.grpc.metadata', rare: true, kind: 'pairs', label: 'Metadata', noun: 'Entry', wide: true },
        { path: 'action.grpc.tls', rare: true, kind: 'boolean', label: 'Connect with TLS', wide: true },
      ],
    },
    {
      value: 'awsLambda',
      label: 'AWS Lambda',
      hint: 'Invoked with the credentials of the executor.',
      fields: [
        {
          path: 'action.awsLambda.function',
          kind: 'text',
          label: 'Function',
          description: 'Name, name:alias or ARN',
          required: true,
          code: true,
        },
        {
          path: 'action.awsLambda.qualifier',
          rare: true,
          kind: 'text',
          label: 'Version or alias',
          description: 'Empty: $LATEST',
          code: true,
        },
        {
          path: 'action.awsLambda.region',
          rare: true,
          kind: 'text',
          label: 'Region',
          description: "Empty: that of the executor's environment",
          code: true,
        },
        {
          path: 'action.awsLambda.attemptKey',
          rare: true,
          kind: 'text',
          label: 'Key of the attempt',
          description: 'Of the payload; empty: it is not told',
          code: true,
        },
        {
          path: 'action.awsLambda.payloadJson',
          kind: 'area',
          label: 'Payload',
          description: 'JSON; empty: {}',
          wide: true,
          code: true,
        },
        {
          path: 'action.awsLambda.event',
          rare: true,
          kind: 'boolean',
          label: 'Only hand the event over, without waiting for the function',
          wide: true,
        },
      ],
    },
    {
      value: 'container',
      label: 'Container',
      fields: [
        { path: 'action.container.image', kind: 'text', label: 'Image', required: true, code: true },
        {
          path: 'action.container.pullPolicy',
          rare: true,
          kind: 'choice',
          label: 'Pull',
          options: [
            { value: 'PULL_POLICY_IF_NOT_PRESENT', label: 'When it is not there' },
            { value: 'PULL_POLICY_ALWAYS', label: 'Always' },
            { value: 'PULL_POLICY_NEVER', label: 'Never' },
          ],
        },
        {
          path: 'action.container.command',
          kind: 'words',
          label: 'Command',
          description: 'Empty: that of the image',
          code: true,
        },
        {
          path: 'action.container.entrypoint',
          rare: true,
          kind: 'words',
          label: 'Entry point',
          description: 'Empty: that of the image',
          code: true,
        },
        { path: 'action.container.env', rare: true, kind: 'pairs', label: 'Environment', noun: 'Variable', wide: true },
        { path: 'action.container.workingDirectory', rare: true, kind: 'text', label: 'Working directory', code: true },
        {
          path: 'action.container.user',
          rare: true,
          kind: 'text',
          label: 'User',
          placeholder: 'user:group',
          code: true,
        },
        {
          path: 'action.container.memoryLimitBytes',
          rare: true,
          kind: 'integer',
          label: 'Memory, bytes',
          placeholder: 'no limit',
        },
        {
          path: 'action.container.cpuLimitMillis',
          rare: true,
          kind: 'integer',
          label: 'CPU, thousandths',
          placeholder: 'no limit',
        },
        { path: 'action.container.network', rare: true, kind: 'text', label: 'Network', code: true },
      ],
    },
    {
      value: 'extension',
      label: 'Extension',
      hint: 'Of a kind that the operator has added to the executors.',
      fields: [
        { path: 'action.extension.kind', kind: 'text', label: 'Kind', required: true, code: true, wide: true },
        {
          path: 'action.extension.parametersJson',
          kind: 'area',
          label: 'Parameters',
          description: 'A JSON object; empty: {}',
          wide: true,
          code: true,
        },
      ],
    },
    { value: 'noop', label: 'None', hint: 'Nothing is run; each execution succeeds at once.', fields: [] },
  ],
};

const CHAIN: readonly Field[] = [
  {
    path: 'after',
    kind: 'parents',
    label: 'Runs after',
    description: 'When all of these have ended as each is to',
    noun: 'Task',
    options: [
      { value: 'CHAIN_CONDITION_SUCCESS', label: 'succeeded' },
      { value: 'CHAIN_CONDITION_FAILURE', label: 'failed' },
      { value: 'CHAIN_CONDITION_COMPLETION', label: 'ended' },
    ],
    wide: true,
  },
];

export const LATE = simple('LATE');
export const OVERLAP = simple('OVERLAP');

const RETRYING = { path: 'retry', values: [true] } as const;
export const FAILURE: readonly Field[] = [
  ...simple('FAILURE'),
  { path: 'retry', kind: 'part', label: 'Try again when an attempt fails', wide: true },
  {
    path: 'retry.maxAttempts',
    kind: 'integer',
    label: 'Attempts in all',
    required: true,
    initial: '3',
    only: RETRYING,
  },
  {
    path: 'retry.initialBackoff',
    kind: 'duration',
    label: 'First wait',
    placeholder: '1s',
    only: RETRYING,
  },
  {
    path: 'retry.multiplier',
    kind: 'integer',
    label: 'Each wait times',
    placeholder: '2',
    only: RETRYING,
  },
  { path: 'retry.maxBackoff', kind: 'duration', label: 'Longest wait', placeholder: '10m', only: RETRYING },
  {
    path: 'retry.states',
    kind: 'list',
    label: 'After these ends',
    description: 'Empty: failed and timed out',
    options: [
      { value: 'EXECUTION_STATE_FAILED', label: 'Failed' },
      { value: 'EXECUTION_STATE_TIMED_OUT', label: 'Timed out' },
    ],
    only: RETRYING,
  },
  {
    path: 'retry.exitCodes',
    kind: 'integers',
    label: 'Only with these exit codes',
    description: 'Empty: any',
    only: RETRYING,
  },
  {
    path: 'retry.httpStatuses',
    kind: 'integers',
    label: 'Only with these HTTP statuses',
    description: 'Empty: any',
    only: RETRYING,
  },
];

const NOTIFYING = { path: 'notifications', values: [true] } as const;
const NOTIFY: readonly Field[] = [
  { path: 'notifications', kind: 'part', label: 'Tell a webhook', wide: true },
  {
    path: 'notifications.url',
    kind: 'text',
    label: 'Webhook',
    description: 'Gets CloudEvents by POST',
    placeholder: 'https://',
    required: true,
    code: true,
    only: NOTIFYING,
  },
  {
    path: 'notifications.occasions',
    kind: 'list',
    label: 'When',
    options: [
      { value: 'OCCASION_FAILURE', label: 'it failed for good' },
      { value: 'OCCASION_LOST', label: 'it was lost' },
      { value: 'OCCASION_SKIPPED', label: 'it was skipped' },
      { value: 'OCCASION_LATE', label: 'it started late' },
      { value: 'OCCASION_MISSING', label: 'no success was reported in time' },
    ],
    description: 'What is told',
    required: true,
    only: NOTIFYING,
  },
  {
    path: 'notifications.lateAfter',
    kind: 'duration',
    label: 'Late after',
    description: 'From the nominal time to the start',
    placeholder: 'such as 1m',
    required: true,
    only: { path: 'notifications.occasions', values: ['OCCASION_LATE'] },
  },
  {
    path: 'notifications.reportWithin',
    kind: 'duration',
    label: 'Success is due within',
    description: 'From the nominal time to the end',
    placeholder: 'such as 1h',
    required: true,
    only: { path: 'notifications.occasions', values: ['OCCASION_MISSING'] },
  },
  {
    path: 'notifications.signingSecret',
    kind: 'text',
    label: 'Signing secret',
    description: 'Name of a secret of the nodes; empty: not signed',
    code: true,
    only: NOTIFYING,
  },
  {
    path: 'notifications.headers',
    kind: 'pairs',
    label: 'Headers of the notices',
    noun: 'Notice header',
    wide: true,
    only: NOTIFYING,
  },
];

export const PLACE: readonly Field[] = [
  {
    path: 'executorLabels',
    kind: 'pairs',
    label: 'Executor labels',
    description: 'Only executors with all of these run it',
    noun: 'Executor label',
    wide: true,
  },
  ...simple('PLACE'),
];

export const CHOICES: readonly Choice[] = [SCHEDULE, ACTION];
export const SECTIONS: readonly {
  title: string;
  fields: readonly Field[];
  /** The variant of the schedule with which it is not to be missed. */
  neededWith?: string;
}[] = [
  { title: 'What it is for', fields: simple('ABOUT') },
  { title: 'After other tasks', fields: CHAIN, neededWith: NO_SCHEDULE },
  { title: 'When it is late', fields: LATE },
  { title: 'When runs overlap', fields: OVERLAP },
  { title: 'When it fails', fields: FAILURE },
  { title: 'Notifications', fields: NOTIFY },
  { title: 'Where it runs', fields: PLACE },
];
