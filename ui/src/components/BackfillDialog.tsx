import { Alert, Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { backfillTask, previewBackfill } from '../api/calls.ts';
import { Problem } from '../api/problem.ts';
import type { BackfilledTime, Task } from '../api/types.ts';
import {
  backfillInput,
  backfillWords,
  readBackfill,
  type BackfillErrors,
  type BackfillRange,
  type BackfillTexts,
} from '../lib/backfill.ts';
import { taskZone } from '../lib/describe.ts';
import { formatCount } from '../lib/duration.ts';
import { formatDate, msToZoned } from '../lib/time.ts';
import { openDialog, useDirtyDialog } from './dialog.tsx';
import { StateBadge } from './State.tsx';
import { FullTime } from './When.tsx';

const DAY_MS = 86_400_000;

/** Asks for a past range, shows which nominal times it has, and runs them. */
export function openBackfill(task: Task): void {
  openDialog({
    title: `Backfill ${task.name}`,
    size: 'lg',
    content: (close) => <Backfill task={task} close={close} />,
  });
}

interface Preview {
  range: BackfillRange;
  times: BackfilledTime[];
}

function Backfill({ task, close }: { task: Task; close: () => void }) {
  const client = useQueryClient();
  const zone = taskZone(task.schedule);
  const [before] = useState<BackfillTexts>(() => ({
    from: `${formatDate(Date.now() - DAY_MS, zone)}T00:00:00`,
    until: msToZoned(Date.now(), zone),
    atMost: '',
    atOnce: '',
  }));
  const [texts, setTexts] = useState(before);
  useDirtyDialog(texts !== before);
  const [errors, setErrors] = useState<BackfillErrors & { other?: string }>({});
  const [preview, setPreview] = useState<Preview>();
  const refused = (error: unknown) => {
    const violations = error instanceof Problem ? error.violations : [];
    const placed = violations.map(({ field, description }) => [backfillInput(field) ?? 'other', description]);
    const message = error instanceof Error ? error.message : String(error);
    setErrors(placed.length ? (Object.fromEntries(placed) as BackfillErrors) : { other: message });
  };
  const show = useMutation({
    mutationFn: async (range: BackfillRange) => ({ range, times: await previewBackfill(task.name, range) }),
    onSuccess: setPreview,
    onError: refused,
  });
  const run = useMutation({
    mutationFn: ({ range }: Preview) => backfillTask(task.name, range),
    onSuccess: (times) => {
      for (const key of ['task', 'executions', 'ledger', 'days']) void client.invalidateQueries({ queryKey: [key] });
      const count = `${formatCount(times.length)} ${times.length === 1 ? 'execution' : 'executions'}`;
      notifications.show({ message: `Backfill of ${count} began`, autoClose: 3000 });
      close();
    },
    onError: (error) => {
      setPreview(undefined);
      refused(error);
    },
  });
  const input = (field: keyof BackfillTexts) => ({
    value: texts[field],
    error: errors[field],
    disabled: run.isPending,
    onChange: (event: { currentTarget: { value: string } }) => {
      setTexts({ ...texts, [field]: event.currentTarget.value });
      setPreview(undefined);
    },
  });
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        const read = readBackfill(texts, zone);
        setErrors(read.errors ?? {});
        if (read.range) show.mutate(read.range);
      }}
    >
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          Runs each nominal time of a past range by the schedule as it is now, oldest first, whatever was decided for it
          before. That stays on record.
        </Text>
        <div className="fields">
          <TextInput label="From" type="datetime-local" step={1} required {...input('from')} />
          <TextInput label="Until before" type="datetime-local" step={1} required {...input('until')} />
          <TextInput
            label="At most"
            description="Refuse a range with more nominal times"
            placeholder="100"
            inputMode="numeric"
            {...input('atMost')}
          />
          <TextInput
            label="At once"
            description="Executions of backfills of this task"
            placeholder="1"
            inputMode="numeric"
            {...input('atOnce')}
          />
        </div>
        <Text size="xs" c="dimmed">
          Dates and times are read in {zone},{' '}
          {(task.schedule?.cron ?? task.schedule?.rrule) ? 'the zone of the task' : 'your zone'}.
        </Text>
        {errors.other ? (
          <Alert color="red" variant="light" role="alert">
            {errors.other}
          </Alert>
        ) : null}
        {preview ? <Times times={preview.times} zone={zone} /> : null}
        <Group gap="xs">
          <Button
            type="submit"
            variant={preview ? 'default' : 'filled'}
            loading={show.isPending}
            disabled={run.isPending}
          >
            Show the times
          </Button>
          {preview ? (
            <Button
              loading={run.isPending}
              onClick={() => {
                run.mutate(preview);
              }}
            >
              {`Run ${formatCount(preview.times.length)} ${preview.times.length === 1 ? 'execution' : 'executions'}`}
            </Button>
          ) : null}
          <Button variant="default" onClick={close} disabled={run.isPending}>
            Cancel
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Times({ times, zone }: { times: BackfilledTime[]; zone: string }) {
  return (
    <>
      <Text size="sm" fw={500} role="status">
        {backfillWords(times)}
      </Text>
      <div className="table-scroll boxed" tabIndex={0} role="region" aria-label="Nominal times">
        <table className="table" aria-label="Nominal times">
          <thead>
            <tr>
              <th>Nominal time</th>
              <th>On record</th>
            </tr>
          </thead>
          <tbody>
            {times.map(({ nominalTime, decided }) => (
              <tr key={nominalTime}>
                <td>
                  <FullTime time={nominalTime} zone={zone} />
                </td>
                <td>
                  {decided?.length ? (
                    <Group gap={4}>
                      {decided.map(({ decision, trigger, decideTime }) => (
                        <span key={decideTime} className="nowrap">
                          <StateBadge state={decision} />
                          {trigger === 'TRIGGER_BACKFILL' ? <span className="muted"> by a backfill</span> : null}
                        </span>
                      ))}
                    </Group>
                  ) : (
                    <span className="muted">Nothing</span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
