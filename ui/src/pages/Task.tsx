import { Alert, Button, Group, Menu, SegmentedControl, Stack, Tabs } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { IconChevronDown, IconCopy, IconHistoryToggle, IconPlayerPause, IconTrash } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useNavigate, useParams, useSearchParams } from 'react-router';
import { countDays, listExecutions, previewSchedule } from '../api/calls.ts';
import { useLive } from '../api/live.ts';
import { Problem } from '../api/problem.ts';
import { LARGEST_PAGE, useExecutions, useLedger, useTask } from '../api/queries.ts';
import type { Execution, LedgerEntry, MisfirePolicy, Page, Task } from '../api/types.ts';
import { openBackfill } from '../components/BackfillDialog.tsx';
import { Changes } from '../components/changes.tsx';
import { DurationChart, HeatMap, PartsLegend, YearMap } from '../components/charts.tsx';
import { DataTable, type Column } from '../components/DataTable.tsx';
import { ExecutionTable } from '../components/executionTable.tsx';
import { Labels } from '../components/Labels.tsx';
import { Markdown } from '../components/Markdown.tsx';
import { Pager, usePageToken } from '../components/Pager.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { StateBadge, wordOf } from '../components/State.tsx';
import { useTaskAction, type TaskAction } from '../components/taskActions.tsx';
import { TaskWaits } from '../components/Waiting.tsx';
import { FullTime, InZone, Relative, When } from '../components/When.tsx';
import { utf8OrNull } from '../lib/bytes.ts';
import { actionWords, scheduleWords, simpleFacts, taskZone } from '../lib/describe.ts';
import { formatBytes, formatCount, formatDuration, protoDurationMs } from '../lib/duration.ts';
import { exclusionLines } from '../lib/form/exclusions.ts';
import { sentence } from '../lib/waiting.ts';
import { calendar, ENDED, isFailure, yearOfDays } from '../lib/stats.ts';
import { formatTime, timeMs, viewerZone } from '../lib/time.ts';
import { useNow } from '../lib/useNow.ts';

const DAYS = 7;
const DAY_MS = 86_400_000;
const SUMMARY_EVERY_MS = 10_000;
const NEXT = 5;
/** More are asked for than are shown: as many stand there when the first have passed and the next answer is awaited. */
const SPARE = 3;
const LEDGER_LINKS: Record<string, string> = { TRIGGER_MANUAL: 'Run by hand', TRIGGER_BACKFILL: 'Backfill' };

export function TaskPage() {
  const { name = '' } = useParams();
  useDocumentTitle(`${name} · raftsched`);
  useLive({ task: name }, ['task', 'executions', 'ledger', 'days']);
  const task = useTask(name);
  if (task.error instanceof Problem && task.error.status === 404) {
    return (
      <Panel>
        <Empty page title={`There is no task ${name}`}>
          It was deleted or never registered. <Link to={`/executions?task=${name}`}>Its executions</Link> stay until
          retention removes them. <Link to="/tasks">All tasks</Link>
        </Empty>
      </Panel>
    );
  }
  return (
    <Remote query={task} rows={8}>
      {(data) => (
        <Stack gap="md">
          <PageHead title={data.name} note={<TaskNote task={data} />} actions={<Actions task={data} />} />
          <Warnings task={data} />
          <TaskWaits waits={data.waiting ?? []} />
          <LastFailure task={data} />
          {data.description ? (
            <Panel title="Description">
              <Markdown text={data.description} />
            </Panel>
          ) : null}
          <div className="grid-2">
            <Panel title="Definition">
              <Definition task={data} />
            </Panel>
            <Panel title="Fires">
              <Fires task={data} />
            </Panel>
          </div>
          <History task={data} />
          <Records task={data} />
        </Stack>
      )}
    </Remote>
  );
}

function Actions({ task }: { task: Task }) {
  const act = useTaskAction();
  const navigate = useNavigate();
  const [busy, setBusy] = useState<TaskAction>();
  const run = (action: TaskAction) => () => {
    setBusy(action);
    void act(action, [task.name]).then((done) => {
      setBusy(undefined);
      if (action === 'delete' && done.length) void navigate('/tasks');
    });
  };
  const toggle = task.paused ? 'resume' : 'pause';
  return (
    <>
      <Button onClick={run('run')} loading={busy === 'run'}>
        Run now
      </Button>
      <Button variant="default" onClick={run(toggle)} loading={busy === toggle}>
        {task.paused ? 'Resume' : 'Pause'}
      </Button>
      <Button variant="default" component={Link} to={`/tasks/${task.name}/edit`}>
        Edit
      </Button>
      <Menu position="bottom-end" width={190}>
        <Menu.Target>
          <Button
            variant="default"
            rightSection={<IconChevronDown size={14} />}
            loading={busy === 'delete' || busy === 'pauseUntil'}
          >
            More
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconPlayerPause size={14} />} onClick={run('pauseUntil')}>
            Pause until…
          </Menu.Item>
          {task.schedule ? (
            <Menu.Item
              leftSection={<IconHistoryToggle size={14} />}
              onClick={() => {
                openBackfill(task);
              }}
            >
              Backfill…
            </Menu.Item>
          ) : null}
          <Menu.Item component={Link} to={`/register?from=${task.name}`} leftSection={<IconCopy size={14} />}>
            Duplicate
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item c="var(--bad-fg)" leftSection={<IconTrash size={14} />} onClick={run('delete')}>
            Delete
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </>
  );
}

/** What is set and may not be meant. */
function Warnings({ task }: { task: Task }) {
  if (!task.warnings?.length) return null;
  return (
    <Alert color="yellow" variant="light" title="This may not be meant">
      {task.warnings.map(({ description }) => (
        <div key={description} className="wrap-anywhere">
          {sentence(description ?? '')}
        </div>
      ))}
    </Alert>
  );
}

/** Why the last execution that has ended did not succeed; nothing when it did. */
function LastFailure({ task }: { task: Task }) {
  const { data } = useExecutions({ task: task.name, states: [...ENDED], since: '' }, 1);
  const [last] = data?.rows ?? [];
  if (!last || !isFailure(last)) return null;
  return (
    <Alert color="red" variant="light" title="The last execution did not succeed">
      <span className="wrap-anywhere">
        {wordOf(last.state)}
        {last.exitCode === undefined ? '' : `, exit ${String(last.exitCode)}`}
        {last.error && last.error !== `exit code ${String(last.exitCode)}` ? `: ${last.error}` : ''}
      </span>{' '}
      <Link to={`/executions/${last.id}`}>
        The execution of <When time={last.nominalTime} zone={taskZone(task.schedule)} />
      </Link>
    </Alert>
  );
}

function TaskNote({ task }: { task: Task }) {
  return (
    <>
      <StateBadge state={task.state} />
      {task.paused && task.resumeTime ? (
        <span className="muted">
          resumes <Relative time={task.resumeTime} />
        </span>
      ) : null}
    </>
  );
}

const MISFIRE: Record<MisfirePolicy, string> = {
  MISFIRE_POLICY_UNSPECIFIED: 'run once, the latest',
  MISFIRE_POLICY_SKIP: 'are skipped',
  MISFIRE_POLICY_ONE: 'run once, the latest',
  MISFIRE_POLICY_ALL: 'all run',
};

function Definition({ task }: { task: Task }) {
  const action = actionWords(task.action);
  const limit = protoDurationMs(task.timeLimit);
  const threshold = protoDurationMs(task.misfireThreshold);
  const { command, http } = task.action ?? {};
  const facts: [string, React.ReactNode][] = [
    [action.kind, action.detail ? <pre className="code">{action.detail}</pre> : 'Nothing is run; it succeeds'],
  ];
  if (command?.workingDirectory)
    facts.push(['Working directory', <span className="mono">{command.workingDirectory}</span>]);
  if (command?.env && Object.keys(command.env).length) facts.push(['Environment', <Labels labels={command.env} />]);
  if (command?.stdin) facts.push(['Standard input', <Bytes data={command.stdin} />]);
  if (http?.headers && Object.keys(http.headers).length) facts.push(['Headers', <Labels labels={http.headers} />]);
  if (http?.body) facts.push(['Body', <Bytes data={http.body} />]);
  if (http?.expectedStatuses?.length) facts.push(['Expected statuses', http.expectedStatuses.join(', ')]);
  facts.push(['Labels', <Labels labels={task.labels} link />]);
  facts.push([
    'Runs on',
    task.executorLabels && Object.keys(task.executorLabels).length ? (
      <Labels labels={task.executorLabels} />
    ) : (
      'any executor'
    ),
  ]);
  facts.push(['Time limit', limit === undefined ? 'none' : formatDuration(limit)]);
  facts.push([
    'Misfires',
    `Nominal times more than ${formatDuration(threshold ?? 10_000)} late ${MISFIRE[task.misfirePolicy ?? 'MISFIRE_POLICY_ONE']}`,
  ]);
  facts.push(...policyFacts(task));
  facts.push(['Delivery', task.delivery === 'DELIVERY_AT_MOST_ONCE' ? 'At most once' : 'At least once']);
  facts.push(['Registered', <FullTime time={task.createTime} />]);
  facts.push(['Changed', <FullTime time={task.updateTime} />]);
  return <Facts facts={facts} />;
}

const OVERLAP: Record<string, string> = {
  OVERLAP_POLICY_SKIP: 'Skipped',
  OVERLAP_POLICY_QUEUE: 'Queued',
  OVERLAP_POLICY_CANCEL_RUNNING: 'The older is cancelled',
};

/** Fields that the page says in words of its own. */
const SAID = new Set([
  ...['description', 'timeLimit', 'delivery', 'group', 'paused', 'resumeTime', 'overlapPolicy', 'maxRunning'],
  ...['maxQueued', 'misfirePolicy', 'misfireThreshold'],
]);

/** Those policies that differ from doing nothing special. */
function policyFacts(task: Task): [string, React.ReactNode][] {
  const facts: [string, React.ReactNode][] = [];
  const overlap = OVERLAP[task.overlapPolicy ?? ''];
  if (overlap) {
    const queue =
      task.overlapPolicy === 'OVERLAP_POLICY_QUEUE' ? `, up to ${formatCount(task.maxQueued ?? 10)} wait` : '';
    facts.push(['Overlap', `${overlap} while ${formatCount(task.maxRunning || 1)} is open${queue}`]);
  }
  if (task.retry) {
    const wait = protoDurationMs(task.retry.initialBackoff);
    const first = wait === undefined ? '' : `, the first after ${formatDuration(wait)}`;
    facts.push(['Retries', `Up to ${formatCount(task.retry.maxAttempts)} attempts${first}`]);
  }
  if (task.group) facts.push(['Group', <Link to="/groups">{task.group}</Link>]);
  if (task.notifications) facts.push(['Tells', <span className="mono wrap-anywhere">{task.notifications.url}</span>]);
  facts.push(...simpleFacts(task, SAID));
  return facts;
}

function Facts({ facts }: { facts: [string, React.ReactNode][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name} value`}>{value}</dd>])}
    </dl>
  );
}

function Bytes({ data }: { data: string }) {
  const text = utf8OrNull(data);
  if (text === null) return <>{formatBytes(Math.floor((data.length * 3) / 4))} that are not text</>;
  return <pre className="code">{text}</pre>;
}

const CHAIN: Record<string, string> = {
  CHAIN_CONDITION_FAILURE: 'when it failed',
  CHAIN_CONDITION_COMPLETION: 'when it ended',
};

function Fires({ task }: { task: Task }) {
  const zone = taskZone(task.schedule);
  const { schedule } = task;
  const next = useQuery({
    // The next fire is part of the key: when it has passed, the times that follow are asked for.
    queryKey: ['preview', schedule, task.name, task.nextFireTime],
    queryFn: ({ signal }) => previewSchedule(schedule ?? {}, NEXT + SPARE, task.name, signal),
    enabled: schedule !== undefined && task.state === 'TASK_STATE_ACTIVE',
    placeholderData: (before) => before,
  });
  const facts: [string, React.ReactNode][] = [['Schedule', scheduleWords(schedule)]];
  if (schedule?.cron)
    facts.push(['Expression', <span className="mono">{schedule.cron.expression}</span>], ['Zone', zone]);
  if (schedule?.at) facts.push(['At', <FullTime time={schedule.at} />]);
  if (schedule?.interval?.anchor) facts.push(['Counted from', <FullTime time={schedule.interval.anchor} />]);
  if (schedule?.startTime) facts.push(['Not before', <FullTime time={schedule.startTime} zone={zone} />]);
  if (schedule?.endTime) facts.push(['Ends', <FullTime time={schedule.endTime} zone={zone} />]);
  if (schedule?.exclusions?.length) {
    const lines = exclusionLines(schedule.exclusions, viewerZone());
    facts.push(['Leaves out', <pre className="code">{lines}</pre>]);
  }
  if (schedule?.calendars?.length)
    facts.push(['Calendars', <Link to="/calendars">{schedule.calendars.join(', ')}</Link>]);
  if (task.after?.length)
    facts.push([
      'Runs after',
      <Stack gap={2}>
        {task.after.map((parent) => (
          <span key={parent.task}>
            <Link to={`/tasks/${parent.task ?? ''}`}>{parent.task}</Link>{' '}
            <span className="muted">{CHAIN[parent.on ?? ''] ?? 'when it succeeded'}</span>
          </span>
        ))}
      </Stack>,
    ]);
  facts.push(['Last fire', <FullTime time={task.lastFireTime} zone={zone} />]);
  facts.push([
    'Next fire',
    !task.paused ? (
      <FullTime time={task.nextFireTime} zone={zone} />
    ) : task.resumeTime ? (
      <>
        After it resumes, <FullTime time={task.resumeTime} zone={zone} />
      </>
    ) : (
      'None while it is paused'
    ),
  ]);
  const nextMs = timeMs(task.nextFireTime) ?? Infinity;
  const rest = (next.data?.nominalTimes ?? []).filter((time) => (timeMs(time) ?? 0) > nextMs).slice(0, NEXT - 1);
  if (rest.length && task.state === 'TASK_STATE_ACTIVE') {
    facts.push([
      'Then',
      <Stack gap={2}>
        {rest.map((time) => (
          <FullTime key={time} time={time} zone={zone} />
        ))}
      </Stack>,
    ]);
  }
  return <Facts facts={facts} />;
}

function History({ task }: { task: Task }) {
  const zone = taskZone(task.schedule);
  const recent = useQuery({
    queryKey: ['history', task.name],
    queryFn: async ({ signal }): Promise<Page<Execution>> => {
      const startTime = new Date(Math.floor((Date.now() - DAYS * DAY_MS) / 60_000) * 60_000).toISOString();
      const filter = { task: task.name, startTime };
      const first = await listExecutions(filter, LARGEST_PAGE, '', signal);
      if (!first.next) return first;
      const second = await listExecutions(filter, LARGEST_PAGE, first.next, signal);
      return { rows: [...first.rows, ...second.rows], next: second.next };
    },
    refetchInterval: SUMMARY_EVERY_MS,
  });
  return (
    <>
      <Panel title={`Executions of the last year (days in ${zone})`}>
        <Year task={task} zone={zone} />
      </Panel>
      <div className="grid-2">
        <Panel title={`Executions by day and hour (${zone})`}>
          <Remote query={recent}>{(page) => <Calendar page={page} zone={zone} />}</Remote>
        </Panel>
        <Panel title="Duration of the last executions">
          <Remote query={recent}>
            {(page) =>
              page.rows.some((row) => row.startTime && row.endTime) ? (
                <DurationChart executions={page.rows} zone={zone} />
              ) : (
                <Empty title="No execution has ended yet" />
              )
            }
          </Remote>
        </Panel>
      </div>
    </>
  );
}

const WEEKS = 53;

function Year({ task, zone }: { task: Task; zone: string }) {
  const hour = Math.floor(useNow() / 3_600_000) * 3_600_000;
  const days = useQuery({
    queryKey: ['days', task.name, zone],
    queryFn: ({ signal }) => countDays(task.name, zone, signal),
    refetchInterval: SUMMARY_EVERY_MS,
  });
  return (
    <Remote query={days}>
      {(counts) => (
        <>
          <YearMap weeks={yearOfDays(counts, zone, hour, WEEKS)} />
          <div style={{ height: 8 }} />
          <PartsLegend />
        </>
      )}
    </Remote>
  );
}

function Calendar({ page, zone }: { page: Page<Execution>; zone: string }) {
  const hour = Math.floor(useNow() / 3_600_000) * 3_600_000;
  const oldest = timeMs(page.rows.at(-1)?.nominalTime);
  return (
    <>
      <HeatMap days={calendar(page.rows, zone, hour, DAYS)} />
      <div style={{ height: 8 }} />
      <PartsLegend>
        {page.next && oldest !== undefined ? (
          <span>
            Only the latest {formatCount(page.rows.length)} are counted, back to {formatTime(oldest, zone)}.
          </span>
        ) : null}
      </PartsLegend>
    </>
  );
}

const TABS = ['executions', 'ledger', 'changes'];

function Records({ task }: { task: Task }) {
  const [parameters, setParameters] = useSearchParams();
  const tab = TABS.find((each) => each === parameters.get('tab')) ?? 'executions';
  return (
    <section className="panel">
      <Tabs
        value={tab}
        onChange={(value) => {
          setParameters(value === null || value === 'executions' ? {} : { tab: value });
        }}
        keepMounted={false}
      >
        <Tabs.List>
          <Tabs.Tab value="executions">Executions</Tabs.Tab>
          <Tabs.Tab value="ledger">Ledger</Tabs.Tab>
          <Tabs.Tab value="changes">Changes</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="executions">
          <Executions task={task} />
        </Tabs.Panel>
        <Tabs.Panel value="ledger">
          <Ledger task={task} />
        </Tabs.Panel>
        <Tabs.Panel value="changes">
          <Changes task={task.name} />
        </Tabs.Panel>
      </Tabs>
    </section>
  );
}

function Executions({ task }: { task: Task }) {
  const page = usePageToken();
  const executions = useExecutions({ task: task.name, states: [], since: '' }, 20, page);
  return (
    <Remote query={executions}>
      {({ rows, next }) =>
        rows.length ? (
          <>
            <ExecutionTable label="Executions" rows={rows} zone={taskZone(task.schedule)} hideTask />
            <Pager next={next} shown={rows.length} noun={rows.length === 1 ? 'execution' : 'executions'} />
          </>
        ) : (
          <Empty title="It has not run yet" />
        )
      }
    </Remote>
  );
}

const RANGES = [
  { value: '1', label: '24 h' },
  { value: '7', label: '7 d' },
  { value: '30', label: '30 d' },
];

function Ledger({ task }: { task: Task }) {
  const page = usePageToken();
  const [parameters, setParameters] = useSearchParams();
  const days = RANGES.find((range) => range.value === parameters.get('days'))?.value ?? '1';
  const [openedAt] = useState(Date.now);
  const start = new Date(Math.floor((openedAt - Number(days) * DAY_MS) / 60_000) * 60_000).toISOString();
  const ledger = useLedger(task.name, start, 50, page);
  const columns = ledgerColumns(taskZone(task.schedule));
  return (
    <>
      <Group justify="space-between" p="xs" px="sm">
        <span className="muted">What was decided for every nominal time, oldest first</span>
        <SegmentedControl
          size="xs"
          aria-label="How far back"
          data={RANGES}
          value={days}
          onChange={(value) => {
            setParameters({ tab: 'ledger', days: value });
          }}
        />
      </Group>
      <Remote query={ledger}>
        {({ rows, next }) =>
          rows.length ? (
            <>
              <DataTable
                label="Ledger"
                columns={columns}
                rows={rows}
                rowId={(row) => `${row.nominalTime ?? ''} ${row.executionId ?? ''} ${row.decideTime ?? ''}`}
              />
              <Pager next={next} shown={rows.length} noun={rows.length === 1 ? 'entry' : 'entries'} />
            </>
          ) : (
            <Empty title="Nothing was decided in this time" />
          )
        }
      </Remote>
    </>
  );
}

function ledgerColumns(zone: string): Column<LedgerEntry>[] {
  return [
    {
      id: 'nominal',
      header: () => <InZone zone={zone}>Nominal time</InZone>,
      cell: ({ row: { original } }) => (
        <>
          <When time={original.nominalTime} zone={zone} />
          {original.lastNominalTime && original.lastNominalTime !== original.nominalTime ? (
            <>
              {' to '}
              <When time={original.lastNominalTime} zone={zone} />
            </>
          ) : null}
        </>
      ),
    },
    {
      id: 'count',
      header: 'Count',
      // 0 stands for more than were counted.
      cell: ({ row: { original } }) => ((original.count ?? '0') === '0' ? 'many' : formatCount(original.count)),
      meta: { className: 'end wide' },
    },
    {
      id: 'decision',
      header: 'Decision',
      cell: ({ row }) => <StateBadge state={row.original.decision} />,
    },
    {
      id: 'reason',
      header: 'Why',
      cell: ({ row: { original } }) =>
        original.executionId ? (
          <Link to={`/executions/${original.executionId}`}>{LEDGER_LINKS[original.trigger ?? ''] ?? 'Execution'}</Link>
        ) : original.executionIds?.length ? (
          <>
            On {formatCount(original.executionIds.length)} executors:
            {original.executionIds.slice(0, 10).map((id, index) => (
              <span key={id}>
                {' '}
                <Link to={`/executions/${id}`}>{index + 1}</Link>
              </span>
            ))}
            {original.executionIds.length > 10 ? ' …' : ''}
          </>
        ) : (
          original.reason || <span className="muted">–</span>
        ),
    },
    {
      id: 'decided',
      header: 'Decided',
      cell: ({ row }) => (
        <>
          <When time={row.original.decideTime} zone={zone} />{' '}
          <span className="muted">
            <Relative time={row.original.decideTime} zone={zone} />
          </span>
        </>
      ),
      meta: { className: 'wide' },
    },
    {
      id: 'leader',
      header: 'Leader',
      cell: ({ row: { original } }) => `${original.leaderId ?? '–'} · term ${formatCount(original.term)}`,
      meta: { className: 'wide nowrap' },
    },
  ];
}
