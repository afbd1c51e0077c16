import { Anchor, Text } from '@mantine/core';
import { modals } from '@mantine/modals';
import { notifications } from '@mantine/notifications';
import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from 'react-router';
import type { Execution, Task } from '../api/types.ts';
import { deleteTask, pauseTask, resumeTask, runTask } from '../api/calls.ts';
import { formatTime, viewerZone } from '../lib/time.ts';
import { askResumeTime } from './pauseDialog.tsx';

export type TaskAction = 'run' | 'pause' | 'pauseUntil' | 'resume' | 'delete';

interface Answer {
  execution?: Execution;
  task?: Task;
}

const CALLS: Record<TaskAction, (name: string, resumeTime: string) => Promise<Answer>> = {
  run: async (name) => ({ execution: await runTask(name) }),
  pause: async (name) => ({ task: await pauseTask(name) }),
  pauseUntil: async (name, resumeTime) => ({ task: await pauseTask(name, resumeTime) }),
  resume: async (name) => resumeTask(name).then(() => ({})),
  delete: async (name) => deleteTask(name).then(() => ({})),
};
const DONE: Record<TaskAction, string> = {
  run: 'Started',
  pause: 'Paused',
  pauseUntil: 'Paused',
  resume: 'Resumed',
  delete: 'Deleted',
};
const AT_ONCE = 6;
const REMARKS = 3;

/** Tells what went wrong. */
export function tellError(title: string, error: unknown): void {
  notifications.show({ color: 'red', title, message: error instanceof Error ? error.message : String(error) });
}

/** Does something with one or many tasks and tells how it went; deleting asks first, and a pause with an end asks for it. Resolves to the names that succeeded. */
export function useTaskAction(): (action: TaskAction, names: string[]) => Promise<string[]> {
  const client = useQueryClient();
  const navigate = useNavigate();
  return async (action, names) => {
    if (action === 'delete' && !(await confirmDelete(names))) return [];
    const resumeTime = action === 'pauseUntil' ? await askResumeTime(called(names)) : '';
    if (resumeTime === undefined) return [];
    const failures: [string, unknown][] = [];
    const succeeded: string[] = [];
    let started = '';
    const remarks: [string, string][] = [];
    const waiting = [...names];
    const worker = async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        try {
          const answer = await CALLS[action](name, resumeTime);
          started = answer.execution?.id ?? started;
          if (answer.task) remarks.push(...remarksOf(answer.task));
          succeeded.push(name);
        } catch (error) {
          failures.push([name, error]);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, names.length) }, worker));
    for (const key of ['tasks', 'task', 'executions', 'cluster']) void client.invalidateQueries({ queryKey: [key] });
    if (succeeded.length) {
      const until = resumeTime && ` until ${formatTime(Date.parse(resumeTime), viewerZone())}`;
      const done = `${DONE[action]} ${called(succeeded)}${until}`;
      const link =
        started && succeeded.length === 1 ? <RunLink id={started} open={(path) => void navigate(path)} /> : null;
      const message = link ? (
        <>
          {done} {link}
        </>
      ) : (
        done
      );
      notifications.show({ message, autoClose: link ? 8000 : 3000 });
    }
    for (const [name, text] of remarks.slice(0, REMARKS))
      notifications.show({ color: 'yellow', title: name, message: text, autoClose: 8000 });
    const [first] = failures;
    if (first) {
      const title = failures.length === 1 ? `${first[0]}: not done` : `${String(failures.length)} tasks: not done`;
      tellError(title, first[1]);
    }
    return succeeded;
  };
}

/** What had started already when the task was paused. What a field says is on its page. */
function remarksOf(task: Task): [string, string][] {
  return (task.warnings ?? []).filter(({ field }) => !field).map(({ description }) => [task.name, description ?? '']);
}

/** Notifications stand outside of the router. */
function RunLink({ id, open }: { id: string; open: (path: string) => void }) {
  const path = `/executions/${id}`;
  return (
    <Anchor
      size="sm"
      underline="always"
      href={path}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        open(path);
      }}
    >
      Show the run
    </Anchor>
  );
}

function called(names: string[]): string {
  return names.length === 1 ? names.join('') : `${String(names.length)} tasks`;
}

function confirmDelete(names: string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const id = modals.openConfirmModal({
      title: `Delete ${called(names)}?`,
      children: (
        <Text size="sm">
          It will not fire again. What ran stays on record until retention removes it. An execution under way goes on.
        </Text>
      ),
      labels: { confirm: 'Delete', cancel: 'Keep' },
      confirmProps: { color: 'red.9' },
      // Closing comes after the answer, since it answers with no.
      closeOnConfirm: false,
      onConfirm: () => {
        resolve(true);
        modals.close(id);
      },
      onClose: () => {
        resolve(false);
      },
    });
  });
}
