import { Stack } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { countLogs, listTasks, searchLogs } from '../api/calls.ts';
import { useLive } from '../api/live.ts';
import { useCluster, useExecutions } from '../api/queries.ts';
import type { ClusterStatus, LogCounts, Page, Task } from '../api/types.ts';
import { FiresChart, FiresLegend, LatenessChart } from '../components/charts.tsx';
import { ExecutionTable } from '../components/executionTable.tsx';
import { NodeCards } from '../components/Nodes.tsx';
import { Name } from '../components/Name.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { InZone, Relative, When } from '../components/When.tsx';
import { scheduleShort } from '../lib/describe.ts';
import { formatCount, formatDuration, protoDurationMs } from '../lib/duration.ts';
import { perMinute, tally } from '../lib/stats.ts';
import { viewerZone } from '../lib/time.ts';
import { useNow } from '../lib/useNow.ts';

const MINUTES = 30;
const SUMMARY_EVERY_MS = 5000;
const SHOWN = 8;
const FAILURES = ['EXECUTION_STATE_FAILED', 'EXECUTION_STATE_TIMED_OUT', 'EXECUTION_STATE_LOST'];

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
      const { rows } = await searchLogs({ states: FAILURES, kinds: ['LOG_KIND_EXECUTION'] }, SHOWN, '', signal);
      return rows.flatMap(({ execution }) => (execution ? [execution] : []));
    },
    refetchInterval: SUMMARY_EVERY_MS,
  });
  const latest = useExecutions({ task: '', states: [], since: '' }, SHOWN);
  const upcoming = useQuery({
    queryKey: ['upcoming'],
    queryFn: ({ signal }) =>
      listTasks({ prefix: '', labels: [], state: 'TASK_STATE_ACTIVE', order: 'next_fire_time' }, SHOWN, '', signal),
    refetchInterval: SUMMARY_EVERY_MS,
  });
  return (
    <Stack gap="md">
      <PageHead title="Overview" />
      <Summary status={cluster.data} recent={recent.data} />
      <Panel title="Cluster" actions={<Link to="/cluster">Details</Link>}>
        <Remote query={cluster}>{(status) => <NodeCards status={status} />}</Remote>
      </Panel>
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
          actions={<Link to="/executions?state=failed&state=timed_out&state=lost">All failures</Link>}
          flush
        >
          <Remote query={failures}>
            {(rows) =>
              rows.length ? (
                <ExecutionTable label="Failed executions" rows={rows} compact />
              ) : (
                <Empty title="Nothing failed">Executions that fail, time out or are lost are listed here.</Empty>
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
  const { succeeded, failed, other } = tally(recent?.totals);
  const latest = Math.max(...(recent?.buckets ?? []).map(({ lateness }) => protoDurationMs(lateness?.max) ?? -1), -1);
  const executors = status?.executors ?? [];
  const sum = (part: 'slots' | 'slotsUsed') => executors.reduce((total, each) => total + (each[part] ?? 0), 0);
  const known = status !== undefined;
  const stats: [string, string][] = [
    ['Tasks', known ? formatCount(status.counts?.tasks) : '–'],
    ['Waiting to run', known ? formatCount(status.counts?.pendingExecutions) : '–'],
    ['Slots in use', known ? `${formatCount(sum('slotsUsed'))} / ${formatCount(sum('slots'))}` : '–'],
    [`Fires, ${String(MINUTES)} min`, recent ? formatCount(succeeded + failed + other) : '–'],
    [`Failures, ${String(MINUTES)} min`, recent ? formatCount(failed) : '–'],
    [`Latest start, ${String(MINUTES)} min`, latest < 0 ? '–' : formatDuration(latest)],
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

function Fires({ counts }: { counts: LogCounts }) {
  const minute = Math.floor(useNow() / 60_000) * 60_000;
  return (
    <>
      <FiresChart buckets={perMinute(counts.buckets, minute, MINUTES)} />
      <FiresLegend />
    </>
  );
}

function Lateness({ counts }: { counts: LogCounts }) {
  const minute = Math.floor(useNow() / 60_000) * 60_000;
  return (
    <>
      <LatenessChart buckets={perMinute(counts.buckets, minute, MINUTES)} />
      <div className="legend">From the nominal time to the first start; red above 10 s</div>
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
