import { Group, Stack } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { countLogs, listTasks, searchLogs } from '../api/calls.ts';
import { useLive } from '../api/live.ts';
import { useCluster, useExecutions } from '../api/queries.ts';
import type { ClusterStatus, Execution, LogCounts, Page, Task } from '../api/types.ts';
import { FiresChart, LatenessChart, PartsLegend } from '../components/charts.tsx';
import { ExecutionTable, Result } from '../components/executionTable.tsx';
import { NodeCards } from '../components/Nodes.tsx';
import { Name } from '../components/Name.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { StateBadge } from '../components/State.tsx';
import { WaitsTable } from '../components/Waiting.tsx';
import { InZone, Relative, When } from '../components/When.tsx';
import { scheduleShort } from '../lib/describe.ts';
import { failuresByTask } from '../lib/failures.ts';
import { formatCount, formatDuration, protoDurationMs } from '../lib/duration.ts';
import { FAILURES, perMinute, tally, total } from '../lib/stats.ts';
import { timeMs, viewerZone } from '../lib/time.ts';
import { useNow } from '../lib/useNow.ts';

const MINUTES = 30;
const SUMMARY_EVERY_MS = 5000;
const SHOWN = 8;
const FAILURES_LOOKED_AT = 100;

export function OverviewPage() {
  useDocumentTitle('Overview · raftsched');
  useLive({}, ['executions', 'failures']);
  const cluster = useCluster();
  const recent = useQuery({
    queryKey: ['recent'],
    queryFn: ({ signal }) => {
      const minute = Math.floor(Date.now() / 60_000);
      const startTime = new Date((minute - MINUTES + 1) * 60_000).toISOString();
      const endTime = new Date((minute + 1) * 60_000).toISOString();
      return countLogs({ startTime, endTime, bucket: '60s' }, signal);
    },
    refetchInterval: SUMMARY_EVERY_MS,
  });
  const failures = useQuery({
    queryKey: ['failures'],
    queryFn: async ({ signal }) => {
      const { rows } = await searchLogs(
        { states: [...FAILURES], kinds: ['LOG_KIND_EXECUTION'] },
        FAILURES_LOOKED_AT,
        '',
        signal,
      );
      return rows.flatMap(({ execution }) => (execution ? [execution] : []));
    },
    refetchInterval: SUMMARY_EVERY_MS,
  });
  const latest = useExecutions({ task: '', states: [], since: '' }, SHOWN);
  const upcoming = useQuery({
    queryKey: ['upcoming'],
    queryFn: ({ signal }) =>
      listTasks(
        { prefix: '', search: '', labels: [], state: 'TASK_STATE_ACTIVE', order: 'next_fire_time' },
        SHOWN,
        '',
        signal,
      ),
    refetchInterval: SUMMARY_EVERY_MS,
  });
  return (
    <Stack gap="md">
      <PageHead title="Overview" />
      <Summary status={cluster.data} recent={recent.data} />
      <Panel title="Cluster" actions={<Link to="/cluster">Details</Link>}>
        <Remote query={cluster}>{(status) => <NodeCards status={status} />}</Remote>
      </Panel>
      {cluster.data?.waiting.length ? (
        <Panel
          title="Waits for more than 10 s"
          actions={<Link to="/tasks?needs=waiting">Tasks with executions that wait</Link>}
          flush
        >
          <WaitsTable waits={cluster.data.waiting} />
          {cluster.data.waitingIncomplete ? (
            <div className="legend" style={{ padding: '6px 14px' }}>
              Only those that have waited longest are counted
            </div>
          ) : null}
        </Panel>
      ) : null}
      <div className="grid-2">
        <Panel title={`Fires per minute, last ${String(MINUTES)} minutes`}>
          <Remote query={recent}>{(counts) => <Fires counts={counts} />}</Remote>
        </Panel>
        <Panel title="Lateness of starts, largest per minute">
          <Remote query={recent}>{(counts) => <Lateness counts={counts} />}</Remote>
        </Panel>
      </div>
      <div className="grid-2">
        <Panel
          title="Fires next"
          actions={<Link to="/tasks?state=active&sort=next_fire_time">Active tasks</Link>}
          flush
        >
          <Remote query={upcoming}>{(page) => <Upcoming page={page} />}</Remote>
        </Panel>
        <Panel
          title="Failed lately"
          actions={
            <span>
              <Link to="/tasks?needs=failing">Tasks that fail</Link> ·{' '}
              <Link to="/executions?state=failed&state=timed_out&state=lost&state=expired">All failures</Link>
            </span>
          }
          flush
        >
          <Remote query={failures}>
            {(rows) =>
              rows.length ? (
                <Failures rows={rows} />
              ) : (
                <Empty title="Nothing failed">
                  Tasks whose executions fail, time out, expire or are lost are listed here.
                </Empty>
              )
            }
          </Remote>
        </Panel>
      </div>
      <Panel title="Latest executions" actions={<Link to="/executions">All executions</Link>} flush>
        <Remote query={latest}>
          {({ rows }) =>
            rows.length ? (
              <ExecutionTable label="Latest executions" rows={rows} />
            ) : (
              <Empty title="Nothing has run yet">
                <Link to="/register">Register a task</Link> and it shows here when it fires.
              </Empty>
            )
          }
        </Remote>
      </Panel>
    </Stack>
  );
}

function Summary({ status, recent }: { status: ClusterStatus | undefined; recent: LogCounts | undefined }) {
  const now = useNow();
  const counts = tally(recent?.totals);
  const started = Math.max(...(recent?.buckets ?? []).map(({ lateness }) => protoDurationMs(lateness?.max) ?? -1), -1);
  // What has not started is later with every second.
  const oldest = Math.min(...(status?.waiting ?? []).map((wait) => timeMs(wait.oldestNominalTime) ?? Infinity));
  const latest = Math.max(started, now - oldest);
  const executors = status?.executors ?? [];
  const sum = (part: 'slots' | 'slotsUsed') => executors.reduce((total, each) => total + (each[part] ?? 0), 0);
  const known = status !== undefined;
  const stats: [string, string][] = [
    ['Tasks', known ? formatCount(status.counts?.tasks) : '–'],
    ['Waiting to run', known ? formatCount(status.counts?.pendingExecutions) : '–'],
    ['Slots in use', known ? `${formatCount(sum('slotsUsed'))} / ${formatCount(sum('slots'))}` : '–'],
    [`Fires, ${String(MINUTES)} min`, recent ? formatCount(total(counts)) : '–'],
    [`Failures, ${String(MINUTES)} min`, recent ? formatCount(counts.failed) : '–'],
    [
      `Latest start, ${String(MINUTES)} min`,
      latest < 0 ? '–' : formatDuration(latest) + (latest > started ? ', and waits' : ''),
    ],
  ];
  return (
    <div className="stats">
      {stats.map(([name, value]) => (
        <div key={name} className="panel stat">
          <div className="muted">{name}</div>
          <div className="stat-value">{value}</div>
        </div>
      ))}
    </div>
  );
}

/** The last failures by task: how many, when the last one was, and why. */
function Failures({ rows }: { rows: Execution[] }) {
  const tasks = failuresByTask(rows);
  return (
    <>
      <table className="table" aria-label="Failures by task">
        <thead>
          <tr>
            <th className="fill">Task, and why it failed last</th>
            <th className="end">Failures</th>
            <th>
              <InZone zone={viewerZone()}>Last</InZone>
            </th>
          </tr>
        </thead>
        <tbody>
          {tasks.slice(0, SHOWN).map(({ task, count, latest }) => (
            <tr key={task}>
              <td className="fill">
                <Link to={`/tasks/${task}`}>
                  <Name>{task}</Name>
                </Link>
                <Group gap={6} mt={2}>
                  <StateBadge state={latest.state} />
                  <Result execution={latest} />
                </Group>
              </td>
              <td className="end">
                <Link to={`/executions?task=${task}&state=failed&state=timed_out&state=lost&state=expired`}>
                  {formatCount(count)}
                </Link>
              </td>
              <td>
                <Link to={`/executions/${latest.id}`}>
                  <When time={latest.nominalTime} />
                </Link>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <div className="legend" style={{ padding: '6px 14px' }}>
        {tasks.length > SHOWN ? `${formatCount(tasks.length - SHOWN)} more tasks. ` : ''}
        {rows.length === FAILURES_LOOKED_AT ? `Of the last ${formatCount(FAILURES_LOOKED_AT)} failures.` : ''}
      </div>
    </>
  );
}

function Fires({ counts }: { counts: LogCounts }) {
  const minute = Math.floor(useNow() / 60_000) * 60_000;
  return (
    <>
      <FiresChart buckets={perMinute(counts.buckets, minute, MINUTES)} />
      <PartsLegend />
    </>
  );
}

function Lateness({ counts }: { counts: LogCounts }) {
  return (
    <>
      <LatenessChart buckets={perMinute(counts.buckets, useNow(), MINUTES)} />
      <div className="legend">
        From the nominal time to the first start; red above 10 s, yellow while some have not started
      </div>
    </>
  );
}

function Upcoming({ page }: { page: Page<Task> }) {
  const rows = page.rows.filter((task) => task.nextFireTime);
  if (rows.length === 0) {
    return (
      <Empty title="No task has a time to come">
        <Link to="/register">Register a task</Link> or resume one.
      </Empty>
    );
  }
  return (
    <>
      <table className="table" aria-label="Tasks that fire next">
        <thead>
          <tr>
            <th className="grow">Task</th>
            <th className="wide">Schedule</th>
            <th>
              <InZone zone={viewerZone()}>Nominal time</InZone>
            </th>
            <th className="end wide">In</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((task) => (
            <tr key={task.name}>
              <td className="grow">
                <Link to={`/tasks/${task.name}`}>
                  <Name>{task.name}</Name>
                </Link>
              </td>
              <td className="wide mono nowrap">{scheduleShort(task.schedule)}</td>
              <td>
                <When time={task.nextFireTime} />
                <div className="narrow muted">
                  <Relative time={task.nextFireTime} />
                </div>
              </td>
              <td className="end wide">
                <Relative time={task.nextFireTime} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
