import { Button, Group, MultiSelect, Select, Stack, TagsInput, TextInput } from '@mantine/core';
import { useDebouncedCallback, useDocumentTitle } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import { Link, useSearchParams } from 'react-router';
import { useLive } from '../api/live.ts';
import { useLogs } from '../api/queries.ts';
import { EXECUTION_STATES, type ExecutionState, type LogRecord } from '../api/types.ts';
import { ChangeKind } from '../components/changes.tsx';
import { DataTable, type Column } from '../components/DataTable.tsx';
import { Result } from '../components/executionTable.tsx';
import { Name } from '../components/Name.tsx';
import { Pager, usePageToken } from '../components/Pager.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { StateBadge, wordOf } from '../components/State.tsx';
import { InZone, Relative, When } from '../components/When.tsx';
import { formatDuration } from '../lib/duration.ts';
import { highlight } from '../lib/highlight.ts';
import { runMs } from '../lib/stats.ts';
import { viewerZone } from '../lib/time.ts';
import { RANGES_MS, readLogView, writeLogView, type LogView } from '../lib/urlState.ts';

const PAGE = 50;
const TYPING_MS = 600;
/** The index follows within about a second, and a search is work. */
const LIVE_MS = 3000;

export function LogsPage() {
  useDocumentTitle('Logs · raftsched');
  const [parameters, setParameters] = useSearchParams();
  const view = useMemo(() => readLogView(parameters), [parameters]);
  const page = usePageToken();
  useLive({}, ['logs'], LIVE_MS, !page);
  const logs = useLogs(view, PAGE, page);
  const columns = useMemo(() => logColumns(view.query), [view.query]);
  return (
    <Stack gap="md">
      <PageHead title="Logs" />
      <Panel>
        <Filters
          key={[view.query, view.prefix, view.executor, view.longerThan].join('\n')}
          view={view}
          onChange={(next) => {
            setParameters(writeLogView(next));
          }}
        />
        <div style={{ margin: '10px -14px -14px' }}>
          <Remote query={logs} rows={8}>
            {({ rows, next }) =>
              rows.length || next ? (
                <>
                  <DataTable label="Logs" columns={columns} rows={rows} rowId={rowId} />
                  <Pager next={next} shown={rows.length} noun={rows.length === 1 ? 'record' : 'records'} />
                </>
              ) : parameters.size ? (
                <Empty title="Nothing matches">
                  Errors, reasons and output are searched. <Link to="/logs">Show everything</Link>
                </Empty>
              ) : (
                <Empty title="Nothing has happened yet">
                  Executions, skipped fires and changes of tasks are listed here, and found by what they said.
                </Empty>
              )
            }
          </Remote>
        </div>
      </Panel>
    </Stack>
  );
}

function rowId({ kind, task, time, execution, change }: LogRecord): string {
  return [kind, task, time, execution?.id, change?.revision].join(' ');
}

function Filters({ view, onChange }: { view: LogView; onChange: (view: LogView) => void }) {
  const [texts, setTexts] = useState({
    query: view.query,
    prefix: view.prefix,
    executor: view.executor,
    longerThan: view.longerThan,
  });
  // On a narrow screen, while nothing but words is looked for.
  const [folded, setFolded] = useState([...writeLogView({ ...view, query: '' }).keys()].length === 0);
  const apply = useDebouncedCallback((next: typeof texts) => {
    onChange({ ...view, ...next });
  }, TYPING_MS);
  const text = (key: keyof typeof texts) => ({
    value: texts[key],
    onChange: (event: { currentTarget: { value: string } }) => {
      const next = { ...texts, [key]: event.currentTarget.value };
      setTexts(next);
      apply(next);
    },
    onKeyDown: (event: { key: string }) => {
      if (event.key === 'Enter') onChange({ ...view, ...texts });
    },
  });
  return (
    <Stack gap="xs" role="search" aria-label="Search the logs">
      <TextInput
        label="Words"
        placeholder='"connection refused" OR timeout, refus*, error:dns, output:done'
        leftSection={<IconSearch size={14} />}
        {...text('query')}
      />
      <div className="narrow">
        <Button
          variant="default"
          aria-expanded={!folded}
          onClick={() => {
            setFolded(!folded);
          }}
        >
          {folded ? 'More filters' : 'Fewer filters'}
        </Button>
      </div>
      <div className={folded ? 'filters filters-folded' : 'filters'}>
        <TextInput label="Task begins with" {...text('prefix')} />
        <Select
          label="Records"
          allowDeselect={false}
          value={view.kind || 'all'}
          data={[
            { value: 'all', label: 'Executions, decisions' },
            { value: 'execution', label: 'Executions' },
            { value: 'decision', label: 'Skipped, coalesced' },
            { value: 'task_change', label: 'Changes of tasks' },
          ]}
          onChange={(kind) => {
            onChange({ ...view, kind: kind === 'all' || kind === null ? '' : (kind as LogView['kind']) });
          }}
        />
        <MultiSelect
          label="States"
          size="sm"
          placeholder={view.states.length ? '' : 'All'}
          value={view.states}
          data={EXECUTION_STATES.map((state) => ({ value: state, label: wordOf(state) }))}
          onChange={(states) => {
            onChange({ ...view, states: states as ExecutionState[] });
          }}
          clearable
        />
        <Select
          label="Time"
          value={view.since || 'all'}
          allowDeselect={false}
          data={[
            { value: 'all', label: 'All that is kept' },
            ...Object.keys(RANGES_MS).map((range) => ({ value: range, label: `Last ${range}` })),
          ]}
          onChange={(since) => {
            onChange({ ...view, since: since === 'all' || since === null ? '' : since });
          }}
        />
        <TagsInput
          label="Labels"
          size="sm"
          placeholder={view.labels.length ? '' : 'key=value, Enter'}
          value={view.labels}
          onChange={(labels) => {
            onChange({ ...view, labels: labels.filter((label) => !label.startsWith('=')) });
          }}
        />
        <TagsInput
          label="Exit codes"
          size="sm"
          placeholder={view.exitCodes.length ? '' : 'any'}
          value={view.exitCodes}
          onChange={(codes) => {
            onChange({ ...view, exitCodes: codes.filter((code) => /^-?\d{1,9}$/.test(code)) });
          }}
        />
        <TextInput label="Took at least" placeholder="such as 30s" {...text('longerThan')} />
        <TextInput label="Executor" placeholder="its whole id" {...text('executor')} />
      </div>
    </Stack>
  );
}

function logColumns(query: string): Column<LogRecord>[] {
  return [
    {
      id: 'time',
      header: () => <InZone zone={viewerZone()}>Time</InZone>,
      cell: ({ row }) => (
        <>
          <When time={row.original.time} />
          <div className="muted small">
            <Relative time={row.original.time} />
          </div>
        </>
      ),
      meta: { className: 'tight' },
    },
    {
      id: 'what',
      header: 'What',
      cell: ({ row: { original } }) => <What record={original} query={query} />,
      meta: { className: 'fill' },
    },
    {
      id: 'state',
      header: 'State',
      cell: ({ row }) => <RecordState record={row.original} />,
      meta: { className: 'wide tight' },
    },
    {
      id: 'duration',
      header: 'Duration',
      cell: ({ row: { original } }) => {
        const ms = original.execution ? runMs(original.execution, Date.now()) : undefined;
        return ms === undefined ? <span className="muted">–</span> : formatDuration(ms);
      },
      meta: { className: 'end nowrap wide tight' },
    },
  ];
}

function RecordState({ record }: { record: LogRecord }) {
  if (record.change) return <ChangeKind change={record.change} />;
  return <StateBadge state={record.execution?.state ?? record.decision?.decision} />;
}

function What({ record, query }: { record: LogRecord; query: string }) {
  const { task = '', execution, decision, change, snippet } = record;
  const to = execution ? `/executions/${execution.id}` : `/tasks/${task}${change ? '?tab=changes' : '?tab=ledger'}`;
  return (
    <>
      <Group gap={8}>
        <Link to={to} style={{ fontWeight: 500 }}>
          <Name>{task}</Name>
        </Link>
        <span className="narrow">
          <RecordState record={record} />
        </span>
        {decision && Number(decision.count ?? 1) > 1 ? <span className="muted">{decision.count} times</span> : null}
      </Group>
      {execution && !snippet ? <Result execution={execution} /> : null}
      {decision?.reason && !snippet ? <div className="muted">{decision.reason}</div> : null}
      {change?.changedFields?.length ? <div className="muted">{change.changedFields.join(', ')}</div> : null}
      {snippet ? (
        <div className="snippet mono">
          {highlight(snippet, query).map((part, index) =>
            part.hit ? <mark key={index}>{part.text}</mark> : <span key={index}>{part.text}</span>,
          )}
        </div>
      ) : null}
    </>
  );
}
