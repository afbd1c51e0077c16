import { Alert, Button, Group, List, Stack, Text } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate, useParams, useSearchParams } from 'react-router';
import { createTask, getTask, updateTask } from '../api/calls.ts';
import { Problem } from '../api/problem.ts';
import type { Task } from '../api/types.ts';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Remote } from '../components/Remote.tsx';
import { ACTION, ARGV, IDENTITY, SCHEDULE, SECTIONS } from '../lib/form/fields.ts';
import {
  binaryFields,
  changedFields,
  emptyForm,
  formOf,
  JSON_VARIANT,
  placeViolations,
  taskOf,
  type TaskForm,
} from '../lib/form/form.ts';
import { viewerZone } from '../lib/time.ts';
import { CronHelp } from './form/CronHelp.tsx';
import { Fields } from './form/FieldInput.tsx';
import { Arguments, Part } from './form/Part.tsx';
import { Preview, PREVIEWED } from './form/Preview.tsx';
import { useTaskForm } from './form/useTaskForm.ts';

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
      {(task) => <TaskEditor key={from} title={`Copy of ${from}`} source={task} initial={copyOf(task)} />}
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

function copyOf(task: Task): TaskForm {
  const form = formOf(task, viewerZone());
  return { ...form, values: { ...form.values, name: '', paused: false } };
}

function TaskEditor({ title, initial, edited, source, reload }: EditorProps) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [refused, setRefused] = useState<{ messages: string[]; conflict: boolean }>();
  const state = useTaskForm(initial);
  const { form } = state;
  const save = useMutation({
    mutationFn: async (): Promise<string> => {
      const { task } = taskOf(form, source);
      if (!edited) return (await createTask(task)).name;
      const fields = changedFields(initial, form, edited);
      if (fields.length) await updateTask({ ...task, etag: edited.etag ?? '' }, fields);
      return edited.name;
    },
    onSuccess: (name) => {
      for (const key of ['tasks', 'task', 'changes']) void client.invalidateQueries({ queryKey: [key] });
      notifications.show({ message: `${edited ? 'Saved' : 'Registered'} ${name}`, autoClose: 3000 });
      void navigate(`/tasks/${name}`);
    },
    onError: (error) => {
      if (!(error instanceof Problem)) throw error;
      const { errors, rest } = placeViolations(error.violations, form);
      state.setErrors(errors);
      if (!error.violations.length) rest.push(error.message);
      setRefused({ messages: rest, conflict: error.status === 409 && edited !== undefined });
      showFirst(errors);
    },
  });
  const submit = () => {
    const { errors } = taskOf(form, source);
    setRefused(undefined);
    state.setErrors(errors);
    if (Object.keys(errors).length === 0) save.mutate();
    else showFirst(errors);
  };
  const wrong = Object.keys(state.errors).length;
  const locked = source ? binaryFields(source) : [];
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      noValidate
      style={{ display: 'grid', gap: 16 }}
    >
      <PageHead title={title} />
      {refused?.messages.length ? (
        <Alert color="red" variant="light" title="The task was refused" role="alert">
          <List size="sm">
            {refused.messages.map((message) => (
              <List.Item key={message}>{message}</List.Item>
            ))}
          </List>
          {refused.conflict && reload ? (
            <Button variant="default" mt="xs" onClick={reload}>
              Load what it is now (your changes are dropped)
            </Button>
          ) : null}
        </Alert>
      ) : null}
      <div className="form-grid">
        <Stack gap="md">
          <Panel title="Task">
            <Fields fields={IDENTITY} state={state} named={edited !== undefined} />
          </Panel>
          <Panel title="Schedule">
            <Part choice={SCHEDULE} state={state} after={{ 'schedule.cron.timeZone': <CronHelp state={state} /> }} />
            {form.variants.schedule === JSON_VARIANT ? null : (
              <Text size="xs" c="dimmed" mt={10}>
                Dates and times are read in {form.zone}, your zone.
              </Text>
            )}
          </Panel>
          <Panel title="Action">
            <Part
              choice={ACTION}
              state={state}
              locked={locked}
              after={{ [ARGV]: <Arguments line={String(form.values[ARGV] ?? '')} /> }}
            />
          </Panel>
          {SECTIONS.map(({ title: section, fields }) => (
            <Panel key={section} title={section}>
              <Fields fields={fields} state={state} />
            </Panel>
          ))}
        </Stack>
        <div className="aside">
          <Panel title={`The next ${String(PREVIEWED)} fires`}>
            <Preview form={form} />
          </Panel>
          <Group gap="sm" mt="md">
            <Button type="submit" size="sm" loading={save.isPending}>
              {edited ? 'Save' : 'Register'}
            </Button>
            <Button variant="default" size="sm" onClick={() => void navigate(-1)}>
              Cancel
            </Button>
            {wrong ? (
              <Text size="sm" role="status" style={{ color: 'var(--bad-fg)' }}>
                {wrong === 1 ? 'One field needs a look' : `${String(wrong)} fields need a look`}
              </Text>
            ) : null}
          </Group>
        </div>
      </div>
    </form>
  );
}

/** Brings the first wrong field into view and puts the cursor there. */
function showFirst(errors: Record<string, string>): void {
  const first = [...document.querySelectorAll<HTMLElement>('[data-field]')].find(
    ({ dataset }) => errors[dataset.field ?? ''] !== undefined,
  );
  first?.scrollIntoView({ block: 'center' });
  first?.querySelector<HTMLElement>('input, textarea')?.focus();
}
