import { Link } from 'react-router';
import type { Execution } from '../api/types.ts';
import { formatCount, formatDuration } from '../lib/duration.ts';
import { latenessMs, runMs } from '../lib/stats.ts';
import { viewerZone } from '../lib/time.ts';
import { whyItWaits } from '../lib/waiting.ts';
import { useNow } from '../lib/useNow.ts';
import { DataTable, type Column } from './DataTable.tsx';
import { Name } from './Name.tsx';
import { StateBadge } from './State.tsx';
import { InZone, When } from './When.tsx';

interface Props {
  label: string;
  rows: Execution[];
  zone?: string;
  hideTask?: boolean;
  /** For half a page: what is below one another must stay readable. */
  compact?: boolean;
}

/** Executions, newest first; the time leads to the execution, the name to its task. */
export function ExecutionTable({ label, rows, zone, hideTask, compact }: Props) {
  const columns = [
    ...(hideTask ? [] : [TASK]),
    nominal(zone),
    state(hideTask ?? false),
    ...(compact ? REST.filter(({ id }) => id === 'duration') : REST),
  ];
  return <DataTable label={label} columns={columns} rows={rows} rowId={(row) => row.id} />;
}

const TRIGGERS: Record<string, string> = {
  TRIGGER_MANUAL: 'Manual',
  TRIGGER_CHAIN: 'Chain',
  TRIGGER_BACKFILL: 'Backfill',
};

const TASK: Column<Execution> = {
  id: 'task',
  header: 'Task',
  cell: ({ row }) => (
    <>
      <Link to={`/tasks/${row.original.task ?? ''}`}>
        <Name>{row.original.task}</Name>
      </Link>
      <div className="narrow">
        <StateBadge state={row.original.state} />
        <Result execution={row.original} quiet />
      </div>
    </>
  ),
  meta: { className: 'grow' },
};

function nominal(zone = viewerZone()): Column<Execution> {
  return {
    id: 'nominal',
    header: () => <InZone zone={zone}>Nominal time</InZone>,
    cell: ({ row }) => (
      <Link to={`/executions/${row.original.id}`}>
        <When time={row.original.nominalTime} zone={zone} />
      </Link>
    ),
  };
}

function state(alone: boolean): Column<Execution> {
  return {
    id: 'state',
    header: 'State',
    cell: ({ row }) => (
      <>
        <StateBadge state={row.original.state} />
        {alone ? (
          <div className="narrow">
            <Result execution={row.original} quiet />
          </div>
        ) : null}
      </>
    ),
    // On narrow screens the state and the reason stand below the task's name, if that is there.
    meta: alone ? {} : { className: 'wide' },
  };
}

const REST: Column<Execution>[] = [
  {
    id: 'late',
    header: 'Late',
    cell: ({ row }) => {
      const late = latenessMs(row.original);
      return late === undefined ? <span className="muted">–</span> : formatDuration(late);
    },
    meta: { className: 'end nowrap wide' },
  },
  {
    id: 'duration',
    header: 'Duration',
    cell: ({ row }) => <Running execution={row.original} />,
    meta: { className: 'end nowrap' },
  },
  {
    id: 'attempts',
    header: 'Attempts',
    cell: ({ row }) => {
      const { attempt = 1 } = row.original;
      return attempt > 1 ? formatCount(attempt) : <span className="muted">1</span>;
    },
    meta: { className: 'end wide' },
  },
  {
    id: 'result',
    header: 'Result',
    cell: ({ row }) => <Result execution={row.original} />,
    meta: { className: 'wide' },
  },
  {
    id: 'trigger',
    header: 'Trigger',
    cell: ({ row }) => TRIGGERS[row.original.trigger ?? ''] ?? 'Schedule',
    meta: { className: 'wide muted' },
  },
];

function Running({ execution }: { execution: Execution }) {
  const ms = runMs(execution, useNow());
  return ms === undefined ? <span className="muted">–</span> : formatDuration(ms);
}

type Ended = Pick<Execution, 'exitCode' | 'httpStatus' | 'error'>;

/** Exit code or HTTP status, and the error; of what has not started, what it waits for. */
export function Result({ execution, quiet }: { execution: Ended & Partial<Execution>; quiet?: boolean }) {
  const { exitCode, httpStatus } = execution;
  // The error of a program that ended by itself is its exit code once more.
  const said = execution.error === `exit code ${String(exitCode)}` ? '' : execution.error;
  const why = whyItWaits(execution);
  const error = why ? `Waits: ${why}` : said;
  const code =
    exitCode !== undefined
      ? exitCode < 0
        ? `signal ${String(-exitCode)}`
        : `exit ${String(exitCode)}`
      : httpStatus !== undefined
        ? `HTTP ${String(httpStatus)}`
        : '';
  if (!code && !error) return quiet ? null : <span className="muted">–</span>;
  return (
    <div className="clip result" title={error}>
      {code}
      {error ? <span className="muted">{`${code ? ' · ' : ''}${error}`}</span> : null}
    </div>
  );
}
