import { Button, Stack, Textarea, TextInput } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { createCalendar, deleteCalendar, getCalendar, listCalendars, updateCalendar } from '../api/calls.ts';
import { usePollMs } from '../api/live.ts';
import { Problem } from '../api/problem.ts';
import type { Calendar } from '../api/types.ts';
import { openDialog, useDirtyDialog } from '../components/dialog.tsx';
import { DataTable, type Column } from '../components/DataTable.tsx';
import { Name } from '../components/Name.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { RowActions } from '../components/RowActions.tsx';
import { InZone, When } from '../components/When.tsx';
import { formatCount } from '../lib/duration.ts';
import { exclusionLines, readExclusions } from '../lib/form/exclusions.ts';
import { numbered } from '../lib/form/form.ts';
import { viewerZone } from '../lib/time.ts';

const CODE = { input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } };

export function CalendarsPage() {
  useDocumentTitle('Calendars · raftsched');
  const calendars = useQuery({
    queryKey: ['calendars'],
    queryFn: ({ signal }) => listCalendars(signal),
    refetchInterval: usePollMs(),
  });
  return (
    <Stack gap="md">
      <PageHead title="Calendars" actions={<NewCalendar />} />
      <Panel flush>
        <Remote query={calendars} rows={4}>
          {(rows) =>
            rows.length ? (
              <DataTable label="Calendars" columns={COLUMNS} rows={rows} rowId={(each) => each.name ?? ''} />
            ) : (
              <Empty title="There are no calendars">
                A calendar holds days and windows that several tasks leave out, such as holidays. The command line fills
                one from an iCalendar file (raftsched calendar import) or with a country&apos;s holidays (raftsched
                calendar create --holidays).
              </Empty>
            )
          }
        </Remote>
      </Panel>
    </Stack>
  );
}

const COLUMNS: Column<Calendar>[] = [
  {
    id: 'name',
    header: 'Calendar',
    cell: ({ row }) => <Name>{row.original.name}</Name>,
    meta: { className: 'grow' },
  },
  {
    id: 'count',
    header: 'Exclusions',
    cell: ({ row }) => formatCount(row.original.exclusionCount),
    meta: { className: 'end' },
  },
  { id: 'tasks', header: 'Tasks', cell: ({ row }) => formatCount(row.original.tasks), meta: { className: 'end' } },
  {
    id: 'changed',
    header: () => <InZone zone={viewerZone()}>Changed</InZone>,
    cell: ({ row }) => <When time={row.original.updateTime} />,
    meta: { className: 'wide' },
  },
  {
    id: 'actions',
    header: () => <span className="skip">Actions</span>,
    cell: ({ row }) => (
      <RowActions
        name={row.original.name ?? ''}
        list="calendars"
        warning="Only a calendar that no task names can be deleted."
        edit={() => {
          openEditor(row.original.name);
        }}
        remove={deleteCalendar}
      />
    ),
    meta: { className: 'tight' },
  },
];

function NewCalendar() {
  return (
    <Button
      onClick={() => {
        openEditor();
      }}
    >
      New calendar
    </Button>
  );
}

function openEditor(name?: string): void {
  openDialog({
    title: name === undefined ? 'New calendar' : `Edit ${name}`,
    size: 'lg',
    content: (close) => <Loaded name={name} close={close} />,
  });
}

/** The editor, once what the calendar excludes is known. */
function Loaded({ name, close }: { name: string | undefined; close: () => void }) {
  const calendar = useQuery({
    queryKey: ['calendar', name],
    queryFn: ({ signal }) => getCalendar(name ?? '', signal),
    enabled: name !== undefined,
    staleTime: Infinity,
    gcTime: 0,
  });
  if (name === undefined) return <Editor close={close} />;
  return <Remote query={calendar}>{(edited) => <Editor edited={edited} close={close} />}</Remote>;
}

function Editor({ edited, close }: { edited?: Calendar; close: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState(edited?.name ?? '');
  const [before] = useState(() => exclusionLines(edited?.exclusions ?? [], viewerZone()));
  const [lines, setLines] = useState(before);
  useDirtyDialog(name !== (edited?.name ?? '') || lines !== before);
  const [errors, setErrors] = useState<{ name?: string; lines?: string }>({});
  const save = useMutation({
    mutationFn: (calendar: Calendar) => (edited ? updateCalendar(calendar) : createCalendar(calendar)),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['calendars'] });
      notifications.show({ message: `${edited ? 'Saved' : 'Made'} ${name}`, autoClose: 3000 });
      close();
    },
    onError: (error) => {
      if (!(error instanceof Problem)) throw error;
      const said = (within: boolean) =>
        error.violations
          .filter(({ field }) => field.includes('exclusions') === within)
          .map(numbered)
          .join('; ');
      setErrors(error.violations.length ? { name: said(false), lines: said(true) } : { lines: error.message });
    },
  });
  const submit = () => {
    const read = readExclusions(lines, viewerZone());
    const unnamed = name.trim() === '' ? { name: 'This is needed' } : {};
    const wrong = { ...unnamed, ...(read.error === undefined ? {} : { lines: read.error }) };
    setErrors(wrong);
    if (Object.keys(wrong).length) return;
    save.mutate({
      name: name.trim(),
      exclusions: read.value ?? [],
      ...(edited?.etag ? { etag: edited.etag } : {}),
    });
  };
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
          description={edited ? 'The name of a calendar cannot change' : 'Letters, digits, dot, hyphen and underscore'}
          error={errors.name}
          value={name}
          onChange={(event) => {
            setName(event.currentTarget.value);
          }}
        />
        <Textarea
          label="Leaves out"
          description={`A day, days or a window in each line, and why; windows in ${viewerZone()}`}
          placeholder="2026-12-24..2026-12-26 Christmas"
          autosize
          minRows={6}
          maxRows={20}
          styles={CODE}
          error={errors.lines}
          value={lines}
          onChange={(event) => {
            setLines(event.currentTarget.value);
          }}
        />
        <Button type="submit" loading={save.isPending}>
          {edited ? 'Save' : 'Make'}
        </Button>
      </Stack>
    </form>
  );
}
