import { Button, Stack, TextInput } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { createGroup, deleteGroup, listGroups, updateGroup } from '../api/calls.ts';
import { usePollMs } from '../api/live.ts';
import { Problem } from '../api/problem.ts';
import type { Group } from '../api/types.ts';
import { openDialog, useDirtyDialog } from '../components/dialog.tsx';
import { DataTable, type Column } from '../components/DataTable.tsx';
import { Name } from '../components/Name.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { RowActions } from '../components/RowActions.tsx';
import { editableDuration, formatCount, formatDuration, protoDurationMs } from '../lib/duration.ts';
import { readValue } from '../lib/form/values.ts';
import { viewerZone } from '../lib/time.ts';

const DEFAULT_PERIOD_MS = 60_000;

export function GroupsPage() {
  useDocumentTitle('Groups · raftsched');
  const groups = useQuery({
    queryKey: ['groups'],
    queryFn: ({ signal }) => listGroups(signal),
    refetchInterval: usePollMs(),
  });
  return (
    <Stack gap="md">
      <PageHead title="Groups" actions={<NewGroup />} />
      <Panel flush>
        <Remote query={groups} rows={4}>
          {(rows) =>
            rows.length ? (
              <DataTable label="Groups" columns={COLUMNS} rows={rows} rowId={(group) => group.name ?? ''} />
            ) : (
              <Empty title="There are no groups">
                The tasks of a group share its limits: how many of their attempts run at once, and how many start in a
                while.
              </Empty>
            )
          }
        </Remote>
      </Panel>
    </Stack>
  );
}

function starts({ maxStarts, period }: Group): string {
  return `${formatCount(maxStarts)} in ${formatDuration(protoDurationMs(period) ?? DEFAULT_PERIOD_MS)}`;
}

const COLUMNS: Column<Group>[] = [
  {
    id: 'name',
    header: 'Group',
    cell: ({ row: { original } }) => (
      <>
        <Name>{original.name}</Name>
        <div className="narrow muted small">
          {original.maxStarts ? `${starts(original)} · ` : ''}
          {formatCount(original.tasks)} {original.tasks === 1 ? 'task' : 'tasks'}
        </div>
      </>
    ),
    meta: { className: 'grow' },
  },
  {
    id: 'running',
    header: 'Running',
    cell: ({ row: { original } }) =>
      `${formatCount(original.running)}${original.maxRunning ? ` of ${formatCount(original.maxRunning)}` : ''}`,
    meta: { className: 'nowrap' },
  },
  {
    id: 'starts',
    header: 'Starts',
    cell: ({ row: { original } }) => (original.maxStarts ? starts(original) : 'no limit'),
    meta: { className: 'wide nowrap' },
  },
  {
    id: 'waiting',
    header: 'Waiting',
    cell: ({ row }) => formatCount(row.original.waiting),
    meta: { className: 'end' },
  },
  { id: 'tasks', header: 'Tasks', cell: ({ row }) => formatCount(row.original.tasks), meta: { className: 'end wide' } },
  {
    id: 'actions',
    header: () => <span className="skip">Actions</span>,
    cell: ({ row }) => (
      <RowActions
        name={row.original.name ?? ''}
        list="groups"
        warning="Only a group that no task names can be deleted."
        edit={() => {
          openEditor(row.original);
        }}
        remove={deleteGroup}
      />
    ),
    meta: { className: 'tight' },
  },
];

function NewGroup() {
  return (
    <Button
      onClick={() => {
        openEditor();
      }}
    >
      New group
    </Button>
  );
}

function openEditor(edited?: Group): void {
  openDialog({
    title: edited ? `Edit ${edited.name ?? ''}` : 'New group',
    content: (close) => <Editor edited={edited} close={close} />,
  });
}

function Editor({ edited, close }: { edited: Group | undefined; close: () => void }) {
  const client = useQueryClient();
  const limit = (value: number | undefined) => (value ? String(value) : '');
  const [before] = useState({
    name: edited?.name ?? '',
    maxRunning: limit(edited?.maxRunning),
    maxStarts: limit(edited?.maxStarts),
    period: edited?.period ? editableDuration(protoDurationMs(edited.period) ?? DEFAULT_PERIOD_MS) : '',
  });
  const [texts, setTexts] = useState(before);
  useDirtyDialog(texts !== before);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const save = useMutation({
    mutationFn: (group: Group) => (edited ? updateGroup(group) : createGroup(group)),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['groups'] });
      notifications.show({ message: `${edited ? 'Saved' : 'Made'} ${texts.name}`, autoClose: 3000 });
      close();
    },
    onError: (error) => {
      if (!(error instanceof Problem)) throw error;
      const refused = Object.fromEntries(error.violations.map(({ field, description }) => [place(field), description]));
      setErrors(error.violations.length ? refused : { name: error.message });
    },
  });
  const submit = () => {
    const zone = viewerZone();
    const read = {
      name: readValue('text', texts.name, zone),
      maxRunning: readValue('integer', texts.maxRunning, zone),
      maxStarts: readValue('integer', texts.maxStarts, zone),
      period: readValue('duration', texts.period, zone),
    };
    const wrong = Object.entries(read).flatMap(([field, { error }]) => (error === undefined ? [] : [[field, error]]));
    setErrors(Object.fromEntries(wrong) as Record<string, string>);
    const given = Object.entries(read).filter(([, { value }]) => value !== undefined);
    if (wrong.length === 0) save.mutate(Object.fromEntries(given.map(([field, { value }]) => [field, value])) as Group);
  };
  const input = (field: keyof typeof texts) => ({
    value: texts[field],
    error: errors[field],
    onChange: (event: { currentTarget: { value: string } }) => {
      setTexts({ ...texts, [field]: event.currentTarget.value });
    },
  });
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack gap="sm">
        <TextInput
          label="Name"
          required
          disabled={edited !== undefined}
          description={edited ? 'The name of a group cannot change' : 'Letters, digits, dot, hyphen and underscore'}
          {...input('name')}
        />
        <TextInput
          label="Running at once"
          description="Attempts of all its tasks"
          placeholder="no limit"
          inputMode="numeric"
          {...input('maxRunning')}
        />
        <TextInput
          label="Starts in a period"
          description="Attempts that are given to executors"
          placeholder="no limit"
          inputMode="numeric"
          {...input('maxStarts')}
        />
        <TextInput label="Period" placeholder="1m" {...input('period')} />
        <Button type="submit" loading={save.isPending}>
          {edited ? 'Save' : 'Make'}
        </Button>
      </Stack>
    </form>
  );
}

/** The input that a field of the server stands for. */
function place(field: string): string {
  const name = field.replace(/^group\./, '').replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return ['maxRunning', 'maxStarts', 'period'].includes(name) ? name : 'name';
}
