import { Alert, Button, Group, List, Stack, Text } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useNavigate, useParams, useSearchParams } from 'react-router';
import { createTask, getTask, updateTask } from '../api/calls.ts';
import { Problem } from '../api/problem.ts';
import type { Task, TaskWarning } from '../api/types.ts';
import { useLeaveGuard } from '../components/leave.tsx';
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
import { Fold } from './form/Fold.tsx';
import { Preview } from './form/Preview.tsx';
import { PREVIEWED, usePreview } from './form/usePreview.ts';
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
  const typed = useTaskForm(initial);
  const { form } = typed;
  const looked = usePreview(form, source);
  const state = { ...typed, errors: { ...looked.errors, ...typed.errors }, warnings: looked.warnings };
  const dirty = useMemo(() => JSON.stringify(form) !== JSON.stringify(initial), [form, initial]);
  const leave = useLeaveGuard(dirty);
  const save = useMutation({
    mutationFn: async (): Promise<Task> => {
      const { task } = taskOf(form, source);
      if (!edited) return createTask(task);
      const fields = changedFields(initial, form, edited);
      return fields.length ? updateTask({ ...task, etag: edited.etag ?? '' }, fields) : edited;
    },
    onSuccess: ({ name, warnings }) => {
      for (const key of ['tasks', 'task', 'changes']) void client.invalidateQueries({ queryKey: [key] });
      tellSaved(`${edited ? 'Saved' : 'Registered'} ${name}`, warnings ?? []);
      leave(() => void navigate(`/tasks/${name}`));
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
      className="task-form"
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
          {SECTIONS.map(({ title: section, fields, neededWith }) => (
            <Fold
              key={section}
              title={section}
              fields={fields}
              state={state}
              panel
              needed={neededWith !== undefined && form.variants.schedule === neededWith}
            >
              <Fields fields={fields} state={state} />
            </Fold>
          ))}
        </Stack>
        <div className="aside">
          <Panel title={`The next ${String(PREVIEWED)} fires`}>
            <Preview looked={looked} />
          </Panel>
          <Group gap="sm" className="form-actions">
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

/** That it is done; what may not be meant stays until it is closed. */
function tellSaved(message: string, warnings: readonly TaskWarning[]): void {
  if (!warnings.length) {
    notifications.show({ message, autoClose: 3000 });
    return;
  }
  const words = warnings.map(({ description }) => <div key={description}>{description}</div>);
  notifications.show({ color: 'yellow', title: `${message}, but look`, message: words, autoClose: false });
}

/** Brings the first wrong field into view and puts the cursor there. */
function showFirst(errors: Record<string, string>): void {
  const first = [...document.querySelectorAll<HTMLElement>('[data-field]')].find(
    ({ dataset }) => errors[dataset.field ?? ''] !== undefined,
  );
  for (let fold = first?.closest('details'); fold; fold = fold.parentElement?.closest('details')) fold.open = true;
  first?.scrollIntoView({ block: 'center' });
  first?.querySelector<HTMLElement>('input, textarea')?.focus();
}
