import { useDebouncedValue } from '@mantine/hooks';
import { useQuery, type UseQueryResult } from '@tanstack/react-query';
import { checkTask, previewSchedule } from '../../api/calls.ts';
import { Problem } from '../../api/problem.ts';
import type { FieldViolation, Schedule, SchedulePreview, Task, TaskDefinition, TaskWarning } from '../../api/types.ts';
import { placeViolations, taskOf, type FormErrors, type TaskForm } from '../../lib/form/form.ts';

export const PREVIEWED = 10;
const DEBOUNCE_MS = 400;
const AGAIN_EVERY_MS = 15_000;
const NAME = /^[A-Za-z0-9][\w.-]{0,199}$/;

/** What the server says of the form before it is sent. */
export interface Looked {
  query: UseQueryResult<SchedulePreview>;
  schedule: Schedule | undefined;
  /** Whether what is typed of the schedule can be read at all. */
  readable: boolean;
  /** Why the schedule would be refused. */
  problems: readonly FieldViolation[];
  /** What is wrong with the schedule, by field; empty while it is being typed. */
  errors: FormErrors;
  /** What may not be meant, by field. */
  warnings: FormErrors;
  /** Warnings that belong to no field of the form. */
  otherWarnings: readonly string[];
}

/** The next fires of what the form describes, and what is wrong or odd about it. */
export function usePreview(form: TaskForm, source?: Task): Looked {
  const { task, errors } = taskOf(form, source);
  const typed = JSON.stringify(task.schedule ?? {});
  const [schedule] = useDebouncedValue(typed, DEBOUNCE_MS);
  const [name] = useDebouncedValue(NAME.test(task.name) ? task.name : '', DEBOUNCE_MS);
  const readable = !Object.keys(errors).some((path) => path.startsWith('schedule'));
  const query = useQuery({
    queryKey: ['preview', schedule, name],
    queryFn: ({ signal }) => previewSchedule(JSON.parse(schedule) as Schedule, PREVIEWED, name, signal),
    enabled: readable && task.schedule !== undefined,
    refetchInterval: AGAIN_EVERY_MS,
    retry: false,
  });
  const unread = Object.keys(errors).some((path) => path !== 'name');
  const odd = useWarnings(unread ? undefined : task);
  const violations = query.error instanceof Problem ? query.error.violations : [];
  const current = readable && task.schedule !== undefined && typed === schedule;
  const problems = current ? (query.data?.problems ?? violations) : [];
  const found = [...(current ? (query.data?.warnings ?? []) : []), ...odd];
  const distinct = [...new Map(found.map((each) => [each.description ?? '', each])).values()];
  const placed = placeViolations(distinct.map(named), form);
  return {
    query,
    schedule: task.schedule,
    readable,
    problems: problems.map(named),
    errors: placeViolations(problems.map(named), form).errors,
    warnings: placed.errors,
    otherWarnings: placed.rest,
  };
}

function named({ field = '', description = '' }: { field?: string; description?: string }) {
  return { field, description };
}

/** What the server warns of; nothing while it would refuse the task, which it says when it gets it. */
function useWarnings(task: TaskDefinition | undefined): readonly TaskWarning[] {
  const typed = task ? JSON.stringify({ ...task, name: NAME.test(task.name) ? task.name : 'unnamed' }) : '';
  const [asked] = useDebouncedValue(typed, DEBOUNCE_MS);
  const { data } = useQuery({
    queryKey: ['check', asked],
    queryFn: async ({ signal }) => (await checkTask(JSON.parse(asked) as TaskDefinition, signal)).warnings ?? [],
    enabled: asked !== '',
    refetchInterval: AGAIN_EVERY_MS,
    retry: false,
  });
  return asked === typed ? (data ?? []) : [];
}
