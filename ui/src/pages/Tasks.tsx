import { ActionIcon, Button, Group, Menu, Select, Stack, TagsInput, TextInput } from '@mantine/core';
import { useDebouncedCallback, useDocumentTitle } from '@mantine/hooks';
import {
  IconCopy,
  IconDots,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlayerTrackNext,
  IconSearch,
  IconTrash,
} from '@tabler/icons-react';
import type { RowSelectionState } from '@tanstack/react-table';
import { useMemo, useState } from 'react';
import { Link, useSearchParams } from 'react-router';
import type { TaskFilter } from '../api/calls.ts';
import { useLive } from '../api/live.ts';
import { useCluster, useRecentRuns, useTasks } from '../api/queries.ts';
import type { RecentRun, Task, TaskCondition, TaskState } from '../api/types.ts';
import { DataTable, type Column } from '../components/DataTable.tsx';
import { Labels } from '../components/Labels.tsx';
import { Name } from '../components/Name.tsx';
import { Pager, usePageToken } from '../components/Pager.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { RunStrip } from '../components/RunStrip.tsx';
import { StateBadge } from '../components/State.tsx';
import { useTaskAction, type TaskAction } from '../components/taskActions.tsx';
import { Relative, When } from '../components/When.tsx';
import { scheduleWords, taskShort, taskZone } from '../lib/describe.ts';
import { formatCount } from '../lib/duration.ts';
import { viewerZone } from '../lib/time.ts';
import { readTaskFilter, writeTaskFilter } from '../lib/urlState.ts';

const PAGE = 50;
const STRIP = 12;
const LIVE_EVERY_MS = 2000;
const SPARSE_EVERY_MS = 15_000;
const NOTHING: RowSelectionState = {};
const TIMES = `Times in ${viewerZone()} unless they name a zone`;

export function TasksPage() {
  useDocumentTitle('Tasks · raftsched');
  const [parameters, setParameters] = useSearchParams();
  const filter = useMemo(() => readTaskFilter(parameters), [parameters]);
  const page = usePageToken();
  const tasks = useTasks(filter, PAGE, page);
  useLive({}, ['tasks', 'recentRuns'], tasks.data?.sparse ? SPARSE_EVERY_MS : LIVE_EVERY_MS);
  const [chosen, setChosen] = useState(NOTHING);
  const act = useTaskAction();
  const count = useCluster().data?.counts?.tasks;
  const names = Object.keys(chosen).filter((name) => chosen[name] && tasks.data?.rows.some((row) => row.name === name));
  const doIt = async (action: TaskAction, which: string[]) => {
    const done = await act(action, which);
    setChosen((before) => Object.fromEntries(Object.entries(before).filter(([name]) => !done.includes(name))));
  };
  const shown = useMemo(() => tasks.data?.rows.map(({ name }) => name) ?? [], [tasks.data]);
  const { data: runs } = useRecentRuns(shown, STRIP);
  const columns = useMemo(
    () => [...COLUMNS, runsColumn(runs), LABELS, menuColumn((action, task) => void act(action, [task.name]))],
    // act is made anew on each drawing and does the same.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [runs],
  );
  const filtered =
    filter.prefix !== '' ||
    filter.search !== '' ||
    filter.labels.length > 0 ||
    filter.state !== '' ||
    Boolean(filter.condition);
  return (
    <Stack gap="md">
      <PageHead
        title="Tasks"
        note={count === undefined ? null : <span className="muted">{formatCount(count)} registered</span>}
      />
      <Panel>
        <Filters
          key={`${filter.search}\n${filter.labels.join('\n')}`}
          filter={filter}
          onChange={(next) => {
            setParameters(writeTaskFilter(next));
          }}
        />
        <div style={{ margin: '10px -14px -14px' }}>
          {names.length ? <Bulk names={names} act={doIt} /> : null}
          <Remote query={tasks} rows={8}>
            {({ rows, next }) =>
              rows.length ? (
                <>
                  <DataTable
                    label="Tasks"
                    columns={columns}
                    rows={rows}
                    rowId={(row) => row.name}
                    selection={{ chosen, onChange: setChosen }}
                    order={{
                      by: filter.order ?? 'name',
                      onChange: (order) => {
                        setParameters(writeTaskFilter({ ...filter, order: order === 'name' ? '' : order }));
                      },
                    }}
                  />
                  <Pager next={next} shown={rows.length} noun={rows.length === 1 ? 'task' : 'tasks'} note={TIMES} />
                </>
              ) : next ? (
                <>
                  <Empty title="No task matches so far">Many were looked at. More of them stand behind.</Empty>
                  <Pager next={next} shown={0} noun="tasks" />
                </>
              ) : filtered || page ? (
                <Empty title="No task matches">
                  <Link to="/tasks">Show all tasks</Link>
                </Empty>
              ) : (
                <Empty title="There is no task yet">
                  <Link to="/register">Register the first one</Link>, here or with the command line:
                  <pre className="code" style={{ marginTop: 8, textAlign: 'left' }}>
                    raftsched task create hello --every 5s -- echo hello
                  </pre>
                </Empty>
              )
            }
          </Remote>
        </div>
      </Panel>
    </Stack>
  );
}

function Filters({ filter, onChange }: { filter: TaskFilter; onChange: (filter: TaskFilter) => void }) {
  const [search, setSearch] = useState(filter.search);
  const apply = useDebouncedCallback((value: string) => {
    onChange({ ...filter, search: value.trim() });
  }, 600);
  return (
    <Group gap="sm" align="flex-end" role="search" aria-label="Filter tasks">
      <TextInput
        label="Name contains"
        flex="1 1 180px"
        leftSection={<IconSearch size={14} />}
        value={search}
        onChange={(event) => {
          setSearch(event.currentTarget.value);
          apply(event.currentTarget.value);
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter') onChange({ ...filter, search: search.trim() });
        }}
      />
      {filter.prefix ? (
        <Button
          variant="default"
          size="sm"
          onClick={() => {
            onChange({ ...filter, prefix: '' });
          }}
        >
          Begins with {filter.prefix} ×
        </Button>
      ) : null}
      <TagsInput
        label="Labels"
        placeholder={filter.labels.length ? '' : 'key=value, Enter'}
        size="sm"
        flex="1 1 150px"
        value={filter.labels}
        onChange={(labels) => {
          onChange({ ...filter, labels: labels.filter((label) => !label.startsWith('=')) });
        }}
      />
      <Select
        label="State"
        flex="0 1 120px"
        value={filter.state || 'all'}
        allowDeselect={false}
        data={[
          { value: 'all', label: 'All' },
          { value: 'TASK_STATE_ACTIVE', label: 'Active' },
          { value: 'TASK_STATE_PAUSED', label: 'Paused' },
          { value: 'TASK_STATE_FINISHED', label: 'Finished' },
        ]}
        onChange={(state) => {
          onChange({ ...filter, state: state === 'all' || state === null ? '' : (state as TaskState) });
        }}
      />
      <Select
        label="In need"
        flex="0 1 150px"
        value={filter.condition || 'all'}
        allowDeselect={false}
        data={[
          { value: 'all', label: 'All' },
          { value: 'TASK_CONDITION_FAILING', label: 'Failing' },
          { value: 'TASK_CONDITION_WAITING', label: 'Waiting too long' },
        ]}
        onChange={(needs) => {
          const next = { ...filter };
          delete next.condition;
          onChange(needs === 'all' || needs === null ? next : { ...next, condition: needs as TaskCondition });
        }}
      />
    </Group>
  );
}

function Bulk({ names, act }: { names: string[]; act: (action: TaskAction, names: string[]) => Promise<void> }) {
  const [busy, setBusy] = useState(false);
  const run = (action: TaskAction) => () => {
    setBusy(true);
    void act(action, names).finally(() => {
      setBusy(false);
    });
  };
  return (
    <Group gap="xs" px="sm" py={8} style={{ background: 'var(--busy-bg)' }} role="group" aria-label="Chosen tasks">
      <span style={{ color: 'var(--busy-fg)', fontWeight: 500 }} role="status">
        {names.length} chosen
      </span>
      <Button variant="default" disabled={busy} onClick={run('run')}>
        Run now
      </Button>
      <Button variant="default" disabled={busy} onClick={run('pause')}>
        Pause
      </Button>
      <Button variant="default" disabled={busy} onClick={run('pauseUntil')}>
        Pause until…
      </Button>
      <Button variant="default" disabled={busy} onClick={run('resume')}>
        Resume
      </Button>
      <Button variant="default" c="var(--bad-fg)" disabled={busy} onClick={run('delete')}>
        Delete
      </Button>
    </Group>
  );
}

const COLUMNS: Column<Task>[] = [
  {
    id: 'name',
    header: 'Name',
    cell: ({ row }) => (
      <>
        <Link to={`/tasks/${row.original.name}`} style={{ fontWeight: 500 }}>
          <Name>{row.original.name}</Name>
        </Link>
        <div className="narrow">
          <StateBadge state={row.original.state} />
        </div>
      </>
    ),
    meta: { className: 'grow', sort: 'name' },
  },
  {
    id: 'state',
    header: 'State',
    cell: ({ row }) => <StateBadge state={row.original.state} />,
    meta: { className: 'wide' },
  },
  {
    id: 'schedule',
    header: 'Schedule',
    cell: ({ row }) => (
      <span className={row.original.schedule ? 'mono nowrap' : 'mono'} title={scheduleWords(row.original.schedule)}>
        {taskShort(row.original)}
      </span>
    ),
    meta: { className: 'wide' },
  },
  {
    id: 'next',
    header: 'Next fire',
    cell: ({ row: { original } }) =>
      original.paused && original.resumeTime ? (
        <span className="muted">
          resumes <Relative time={original.resumeTime} />
        </span>
      ) : (
        <Fire time={original.nextFireTime} task={original} />
      ),
    meta: { sort: 'next_fire_time' },
  },
  {
    id: 'last',
    header: 'Last fire',
    cell: ({ row }) => <Fire time={row.original.lastFireTime} task={row.original} />,
    meta: { className: 'wide' },
  },
];

const LABELS: Column<Task> = {
  id: 'labels',
  header: 'Labels',
  cell: ({ row }) => <Labels labels={row.original.labels} link />,
  meta: { className: 'wide' },
};

function runsColumn(runs: Map<string, RecentRun[]> | undefined): Column<Task> {
  return {
    id: 'runs',
    header: 'Last runs',
    cell: ({ row: { original } }) => <RunStrip runs={runs?.get(original.name)} zone={taskZone(original.schedule)} />,
    meta: { className: 'tight wide' },
  };
}

function Fire({ time, task }: { time: string | undefined; task: Task }) {
  if (!time) return <span className="muted">–</span>;
  const zone = taskZone(task.schedule);
  return (
    <>
      <When time={time} zone={zone} />
      <div className="muted small">
        <Relative time={time} zone={zone} />
        {zone === viewerZone() ? null : <span className="nowrap"> · {zone}</span>}
      </div>
    </>
  );
}

function menuColumn(act: (action: TaskAction, task: Task) => void): Column<Task> {
  return {
    id: 'menu',
    header: () => <span className="skip">Actions</span>,
    meta: { className: 'tight end' },
    cell: ({ row: { original: task } }) => (
      <Menu position="bottom-end" width={170}>
        <Menu.Target>
          <ActionIcon aria-label={`Actions for ${task.name}`}>
            <IconDots size={16} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item
            leftSection={<IconPlayerTrackNext size={14} />}
            onClick={() => {
              act('run', task);
            }}
          >
            Run now
          </Menu.Item>
          {task.paused ? (
            <Menu.Item
              leftSection={<IconPlayerPlay size={14} />}
              onClick={() => {
                act('resume', task);
              }}
            >
              Resume
            </Menu.Item>
          ) : (
            <Menu.Item
              leftSection={<IconPlayerPause size={14} />}
              onClick={() => {
                act('pause', task);
              }}
            >
              Pause
            </Menu.Item>
          )}
          <Menu.Item
            leftSection={<IconPlayerPause size={14} />}
            onClick={() => {
              act('pauseUntil', task);
            }}
          >
            Pause until…
          </Menu.Item>
          <Menu.Item component={Link} to={`/tasks/${task.name}/edit`} leftSection={<IconPencil size={14} />}>
            Edit
          </Menu.Item>
          <Menu.Item component={Link} to={`/register?from=${task.name}`} leftSection={<IconCopy size={14} />}>
            Duplicate
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item
            c="var(--bad-fg)"
            leftSection={<IconTrash size={14} />}
            onClick={() => {
              act('delete', task);
            }}
          >
            Delete
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    ),
  };
}
