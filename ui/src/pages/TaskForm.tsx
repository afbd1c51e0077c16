import {
  Alert,
  Button,
  Group,
  JsonInput,
  List,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  TagsInput,
  Text,
  Textarea,
  TextInput,
} from '@mantine/core';
import { useForm, type UseFormReturnType } from '@mantine/form';
import { useDebouncedValue, useDocumentTitle } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate, useParams, useSearchParams } from 'react-router';
import { createTask, getTask, previewSchedule, updateTask } from '../api/calls.ts';
import { Problem } from '../api/problem.ts';
import type { Delivery, MisfirePolicy, Task } from '../api/types.ts';
import { PageHead, Panel } from '../components/Panel.tsx';
import { PairsInput } from '../components/PairsInput.tsx';
import { ErrorNote, Remote } from '../components/Remote.tsx';
import { cronInWords } from '../lib/cron.ts';
import {
  binaryFields,
  changedFields,
  emptyForm,
  formOf,
  placeViolations,
  taskOf,
  type Pair,
  type TaskForm,
} from '../lib/taskForm.ts';
import { formatOffset, formatRelative, formatTime, isZone, knownZones, timeMs, viewerZone } from '../lib/time.ts';
import { useNow } from '../lib/useNow.ts';
import { splitWords } from '../lib/words.ts';

const PREVIEWED = 10;
type Form = UseFormReturnType<TaskForm>;

/** Registers a task; `?from=name` begins with a copy of another. */
export function NewTaskPage() {
  const [parameters] = useSearchParams();
  const from = parameters.get('from') ?? '';
  useDocumentTitle('New task · raftsched');
  const source = useQuery({
    queryKey: ['form', from],
    queryFn: ({ signal }) => getTask(from, signal),
    enabled: from !== '',
    staleTime: Infinity,
    gcTime: 0,
  });
  if (!from) return <TaskEditor title="New task" initial={emptyForm(viewerZone())} />;
  return (
    <Remote query={source}>
      {(task) => (
        <TaskEditor
          key={from}
          title={`Copy of ${from}`}
          source={task}
          initial={{ ...formOf(task, viewerZone()), name: '', paused: false }}
        />
      )}
    </Remote>
  );
}

/** Changes a task. */
export function EditTaskPage() {
  const { name = '' } = useParams();
  useDocumentTitle(`Edit ${name} · raftsched`);
  const task = useQuery({
    queryKey: ['form', name],
    queryFn: ({ signal }) => getTask(name, signal),
    staleTime: Infinity,
    gcTime: 0,
  });
  return (
    <Remote query={task}>
      {(data) => (
        <TaskEditor
          key={data.etag}
          title={`Edit ${name}`}
          edited={data}
          source={data}
          initial={formOf(data, viewerZone())}
          reload={() => void task.refetch()}
        />
      )}
    </Remote>
  );
}

interface EditorProps {
  title: string;
  initial: TaskForm;
  /** The task to change; without it one is registered. */
  edited?: Task;
  /** Where parts that the form cannot show come from. */
  source?: Task;
  reload?: () => void;
}

function TaskEditor({ title, initial, edited, source, reload }: EditorProps) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [refused, setRefused] = useState<{ messages: string[]; conflict: boolean }>();
  const form = useForm<TaskForm>({ initialValues: initial });
  const save = useMutation({
    mutationFn: async (values: TaskForm): Promise<string> => {
      const { task } = taskOf(values, source);
      if (!edited) return (await createTask(task)).name;
      const fields = changedFields(initial, values, edited);
      if (fields.length) await updateTask({ ...task, etag: edited.etag ?? '' }, fields);
      return edited.name;
    },
    onSuccess: (name) => {
      for (const key of ['tasks', 'task']) void client.invalidateQueries({ queryKey: [key] });
      notifications.show({ message: `${edited ? 'Saved' : 'Registered'} ${name}`, autoClose: 3000 });
      void navigate(`/tasks/${name}`);
    },
    onError: (error) => {
      if (!(error instanceof Problem)) throw error;
      const { errors, rest } = placeViolations(error.violations, form.getValues());
      if (!error.violations.length) {
        if (error.status === 409 && !edited) errors.name = error.message;
        else rest.push(error.message);
      }
      form.setErrors(errors);
      setRefused({ messages: rest, conflict: error.status === 409 && edited !== undefined });
    },
  });
  const submit = (values: TaskForm) => {
    const { errors } = taskOf(values, source);
    setRefused(undefined);
    form.setErrors(errors);
    if (Object.keys(errors).length === 0) save.mutate(values);
  };
  return (
    <form onSubmit={form.onSubmit(submit)} noValidate style={{ display: 'grid', gap: 16 }}>
      <PageHead title={title} />
      {refused?.messages.length ? (
        <Alert color="red" variant="light" title="The task was refused" role="alert">
          <List size="sm">
            {refused.messages.map((message) => (
              <List.Item key={message}>{message}</List.Item>
            ))}
          </List>
          {refused.conflict ? (
            <Button variant="default" mt="xs" onClick={reload}>
              Load what it is now (your changes are dropped)
            </Button>
          ) : null}
        </Alert>
      ) : null}
      <div className="form-grid">
        <Stack gap="md">
          <Panel title="Task">
            <Stack gap="sm">
              <TextInput
                label="Name"
                description={
                  edited ? 'The name of a task cannot change' : 'Letters, digits, dot, hyphen and underscore'
                }
                required
                disabled={edited !== undefined}
                {...form.getInputProps('name')}
              />
              <PairsInput label="Labels" noun="Label" {...pairsProps(form, 'labels')} />
            </Stack>
          </Panel>
          <Panel title="Schedule">
            <ScheduleFields form={form} />
          </Panel>
          <Panel title="Action">
            <ActionFields form={form} binary={source ? binaryFields(source) : []} />
          </Panel>
          <Panel title="How it runs">
            <RunFields form={form} />
          </Panel>
          <Group>
            <Button type="submit" size="sm" loading={save.isPending}>
              {edited ? 'Save' : 'Register'}
            </Button>
            <Button variant="default" size="sm" onClick={() => void navigate(-1)}>
              Cancel
            </Button>
          </Group>
        </Stack>
        <div style={{ position: 'sticky', top: 64 }}>
          <Panel title={`The next ${String(PREVIEWED)} fires`}>
            <Preview values={form.getValues()} />
          </Panel>
        </div>
      </div>
    </form>
  );
}

function ScheduleFields({ form }: { form: Form }) {
  const { scheduleKind, cronExpression, zone } = form.getValues();
  const words = cronInWords(cronExpression);
  return (
    <Stack gap="sm">
      <SegmentedControl
        aria-label="Kind of schedule"
        size="xs"
        data={[
          { value: 'cron', label: 'Cron' },
          { value: 'interval', label: 'Interval' },
          { value: 'at', label: 'Once' },
        ]}
        {...form.getInputProps('scheduleKind')}
      />
      {scheduleKind === 'cron' ? (
        <>
          <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
            <TextInput
              label="Cron expression"
              required
              styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
              description="minute hour day month weekday"
              {...form.getInputProps('cronExpression')}
            />
            <ZoneSelect label="Time zone" description="In which it is read" form={form} field="cronZone" />
          </SimpleGrid>
          <Text size="sm" role="status" aria-label="In words">
            {words ?? (
              <span className="muted">Five fields, six with seconds first, or @hourly, @daily and the like</span>
            )}
          </Text>
        </>
      ) : null}
      {scheduleKind === 'interval' ? (
        <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
          <TextInput label="Every" required description="Such as 30s, 5m or 1h30m" {...form.getInputProps('every')} />
          <LocalTime label="Counted from" description="Empty: the time of registration" form={form} field="anchor" />
        </SimpleGrid>
      ) : null}
      {scheduleKind === 'at' ? <LocalTime label="At" form={form} field="at" required /> : null}
      {scheduleKind === 'at' ? null : (
        <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
          <LocalTime label="Not before" description="Empty: from the beginning" form={form} field="startTime" />
          <LocalTime label="Ends" description="Empty: never" form={form} field="endTime" />
        </SimpleGrid>
      )}
      <Text size="xs" c="dimmed">
        Dates and times are read in {zone}, your zone.
      </Text>
    </Stack>
  );
}

interface LocalTimeProps {
  label: string;
  description?: string;
  form: Form;
  field: 'at' | 'anchor' | 'startTime' | 'endTime';
  required?: boolean;
}

function LocalTime({ label, description, form, field, required }: LocalTimeProps) {
  return (
    <TextInput
      type="datetime-local"
      step={1}
      label={label}
      description={description}
      required={required ?? false}
      {...form.getInputProps(field)}
    />
  );
}

const ZONES = knownZones();

function ZoneSelect(props: { label: string; description: string; form: Form; field: 'cronZone' }) {
  const { label, description, form, field } = props;
  const value = form.getValues()[field];
  return (
    <Select
      label={label}
      description={description}
      searchable
      allowDeselect={false}
      limit={60}
      data={ZONES.includes(value) ? ZONES : [value, ...ZONES]}
      {...form.getInputProps(field)}
    />
  );
}

function ActionFields({ form, binary }: { form: Form; binary: ('stdin' | 'body')[] }) {
  const { actionKind } = form.getValues();
  return (
    <Stack gap="sm">
      <SegmentedControl
        aria-label="Kind of action"
        size="xs"
        data={[
          { value: 'command', label: 'Command' },
          { value: 'shell', label: 'Shell' },
          { value: 'http', label: 'HTTP' },
          { value: 'python', label: 'Python' },
          { value: 'noop', label: 'None' },
        ]}
        {...form.getInputProps('actionKind')}
      />
      {actionKind === 'command' || actionKind === 'shell' ? <CommandFields form={form} binary={binary} /> : null}
      {actionKind === 'http' ? <HttpFields form={form} binary={binary} /> : null}
      {actionKind === 'python' ? (
        <>
          <TextInput
            label="Callable"
            required
            description="An entry point, or package.module:function that the nodes allow"
            {...form.getInputProps('callable')}
          />
          <JsonInput
            label="Keyword arguments"
            size="sm"
            description="A JSON object; empty for none"
            autosize
            minRows={3}
            {...form.getInputProps('kwargsJson')}
          />
        </>
      ) : null}
      {actionKind === 'noop' ? <Text size="sm">Nothing is run; each execution succeeds at once.</Text> : null}
    </Stack>
  );
}

function pairsProps(form: Form, field: 'labels' | 'executorLabels' | 'env' | 'headers') {
  const error = form.errors[field];
  return {
    value: form.getValues()[field],
    error: typeof error === 'string' ? error : undefined,
    onChange: (pairs: Pair[]) => {
      form.setFieldValue(field, pairs);
    },
  };
}

const monospace = { input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12 } };

function CommandFields({ form, binary }: { form: Form; binary: string[] }) {
  const { actionKind, commandLine } = form.getValues();
  const argv = splitWords(commandLine) ?? [];
  return (
    <>
      {actionKind === 'shell' ? (
        <>
          <Textarea
            label="Script"
            required
            description="For /bin/sh"
            autosize
            minRows={3}
            maxRows={16}
            styles={monospace}
            {...form.getInputProps('script')}
          />
          <TextInput label="Arguments" description="$1, $2 and so on" {...form.getInputProps('scriptArguments')} />
        </>
      ) : (
        <>
          <TextInput
            label="Command line"
            required
            description="A program and its arguments, without a shell; quotes keep an argument together"
            styles={monospace}
            {...form.getInputProps('commandLine')}
          />
          {argv.length > 1 ? (
            <Group gap={4} aria-label="Arguments as they are passed">
              {argv.map((word, index) => (
                <span key={index} className="label-chip mono clip">
                  {word || '""'}
                </span>
              ))}
            </Group>
          ) : null}
        </>
      )}
      <PairsInput label="Environment" noun="Variable" {...pairsProps(form, 'env')} />
      <TextInput label="Working directory" {...form.getInputProps('workingDirectory')} />
      <Textarea
        label="Standard input"
        autosize
        minRows={1}
        maxRows={10}
        styles={monospace}
        disabled={binary.includes('stdin')}
        description={binary.includes('stdin') ? 'Holds bytes that are not text; they are kept as they are' : undefined}
        {...form.getInputProps('stdin')}
      />
    </>
  );
}

function HttpFields({ form, binary }: { form: Form; binary: string[] }) {
  return (
    <>
      <Group gap="sm" align="flex-start" wrap="nowrap">
        <Select
          label="Method"
          w={110}
          flex="none"
          allowDeselect={false}
          data={['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD']}
          {...form.getInputProps('method')}
        />
        <TextInput label="URL" required flex={1} placeholder="https://" {...form.getInputProps('url')} />
      </Group>
      <PairsInput label="Headers" noun="Header" {...pairsProps(form, 'headers')} />
      <Textarea
        label="Body"
        autosize
        minRows={2}
        maxRows={14}
        styles={monospace}
        disabled={binary.includes('body')}
        description={binary.includes('body') ? 'Holds bytes that are not text; they are kept as they are' : undefined}
        {...form.getInputProps('body')}
      />
      <TagsInput
        label="Expected statuses"
        size="sm"
        description="Empty: any from 200 to 299"
        {...form.getInputProps('expectedStatuses')}
      />
    </>
  );
}

const MISFIRES: { value: MisfirePolicy; label: string }[] = [
  { value: 'MISFIRE_POLICY_ONE', label: 'Run the latest once' },
  { value: 'MISFIRE_POLICY_ALL', label: 'Run every one' },
  { value: 'MISFIRE_POLICY_SKIP', label: 'Skip them' },
];
const DELIVERIES: { value: Delivery; label: string }[] = [
  { value: 'DELIVERY_AT_LEAST_ONCE', label: 'At least once' },
  { value: 'DELIVERY_AT_MOST_ONCE', label: 'At most once' },
];

function RunFields({ form }: { form: Form }) {
  return (
    <Stack gap="sm">
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
        <TextInput
          label="Time limit"
          description="Of one attempt; empty: none"
          placeholder="5m"
          {...form.getInputProps('timeLimit')}
        />
        <Select
          label="Delivery"
          description="When its executor vanishes"
          allowDeselect={false}
          data={DELIVERIES}
          {...form.getInputProps('delivery')}
        />
        <Select
          label="Misfires"
          description="Nominal times that passed too long ago"
          allowDeselect={false}
          data={MISFIRES}
          {...form.getInputProps('misfirePolicy')}
        />
        <TextInput
          label="Misfire threshold"
          description="Lateness that is too long"
          {...form.getInputProps('misfireThreshold')}
        />
      </SimpleGrid>
      <PairsInput
        label="Executor labels"
        description="Only executors with all of these run it"
        noun="Executor label"
        {...pairsProps(form, 'executorLabels')}
      />
      <Switch label="Paused" {...form.getInputProps('paused', { type: 'checkbox' })} />
    </Stack>
  );
}

/** The next fires as the server counts them, in the task's zone and the viewer's. */
function Preview({ values }: { values: TaskForm }) {
  const { task, errors } = taskOf(values);
  const [schedule] = useDebouncedValue(JSON.stringify(task.schedule), 400);
  const readable = (['every', 'at', 'anchor', 'startTime', 'endTime'] as const).every((field) => !errors[field]);
  const preview = useQuery({
    queryKey: ['preview', schedule],
    queryFn: ({ signal }) => previewSchedule(JSON.parse(schedule) as NonNullable<Task['schedule']>, PREVIEWED, signal),
    enabled: readable,
    refetchInterval: 15_000,
    retry: false,
  });
  const now = useNow();
  const mine = viewerZone();
  const zone = values.scheduleKind === 'cron' && isZone(values.cronZone) ? values.cronZone : mine;
  if (!readable) return <Text c="dimmed">Complete the schedule to see them.</Text>;
  if (preview.error) {
    if (preview.error instanceof Problem && preview.error.violations.length) {
      return <Refusal messages={preview.error.violations.map((each) => each.description)} />;
    }
    return <ErrorNote error={preview.error} retry={() => void preview.refetch()} />;
  }
  return (
    <Remote query={preview} rows={6}>
      {({ nominalTimes, problems }) => {
        if (problems.length) return <Refusal messages={problems.map((each) => each.description)} />;
        const offsets = new Set(nominalTimes.map((time) => formatOffset(timeMs(time) ?? 0, zone)));
        return (
          <table className="table" aria-label="Next fires" style={{ margin: '0 -10px', width: 'calc(100% + 20px)' }}>
            <thead>
              <tr>
                <th>
                  {zone} {offsets.size === 1 ? `(${[...offsets].join('')})` : ''}
                </th>
                <th className="end">{zone === mine ? '' : 'Yours'}</th>
              </tr>
            </thead>
            <tbody>
              {nominalTimes.map((time) => {
                const ms = timeMs(time) ?? 0;
                return (
                  <tr key={time} title={formatRelative(ms, now)}>
                    <td>
                      <time dateTime={time} className="nowrap">
                        {formatTime(ms, zone)}
                      </time>{' '}
                      <span className="muted">{offsets.size > 1 ? formatOffset(ms, zone) : ''}</span>
                    </td>
                    <td className="end muted nowrap">
                      {zone === mine ? formatRelative(ms, now) : formatTime(ms, mine).slice(5)}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        );
      }}
    </Remote>
  );
}

function Refusal({ messages }: { messages: string[] }) {
  return (
    <Text size="sm" style={{ color: 'var(--bad-fg)' }} className="wrap-anywhere" role="status">
      {messages.join('; ')}
    </Text>
  );
}
