import { Group, MultiSelect, Select, Stack, TextInput } from '@mantine/core';
import { useDebouncedCallback, useDocumentTitle } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import { Link, useSearchParams } from 'react-router';
import { useLive } from '../api/live.ts';
import { useExecutions } from '../api/queries.ts';
import { EXECUTION_STATES, type ExecutionState } from '../api/types.ts';
import { ExecutionTable } from '../components/executionTable.tsx';
import { Pager, usePageToken } from '../components/Pager.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { wordOf } from '../components/State.tsx';
import { RANGES_MS, readExecutionView, writeExecutionView, type ExecutionView } from '../lib/urlState.ts';

const SPARSE_EVERY_MS = 15_000;
const PAGE = 50;

export function ExecutionsPage() {
  useDocumentTitle('Executions · raftsched');
  const [parameters, setParameters] = useSearchParams();
  const view = useMemo(() => readExecutionView(parameters), [parameters]);
  const page = usePageToken();
  const executions = useExecutions(view, PAGE, page);
  useLive(view.task ? { task: view.task } : {}, ['executions'], executions.data?.sparse ? SPARSE_EVERY_MS : 1000);
  return (
    <Stack gap="md">
      <PageHead title="Executions" />
      <Panel>
        <Filters
          key={view.task}
          view={view}
          onChange={(next) => {
            setParameters(writeExecutionView(next));
          }}
        />
        <div style={{ margin: '10px -14px -14px' }}>
          <Remote query={executions} rows={8}>
            {({ rows, next }) =>
              rows.length ? (
                <>
                  <ExecutionTable label="Executions" rows={rows} />
                  <Pager next={next} shown={rows.length} noun={rows.length === 1 ? 'execution' : 'executions'} />
                </>
              ) : next ? (
                <>
                  <Empty title="No execution matches so far">Many were looked at. Older ones stand behind.</Empty>
                  <Pager next={next} shown={0} noun="executions" />
                </>
              ) : parameters.size ? (
                <Empty title="No execution matches">
                  <Link to="/executions">Show all executions</Link>
                </Empty>
              ) : (
                <Empty title="Nothing has run yet">What tasks do is listed here as soon as one fires.</Empty>
              )
            }
          </Remote>
        </div>
      </Panel>
    </Stack>
  );
}

function Filters({ view, onChange }: { view: ExecutionView; onChange: (view: ExecutionView) => void }) {
  const [task, setTask] = useState(view.task);
  const apply = useDebouncedCallback((value: string) => {
    onChange({ ...view, task: value.trim() });
  }, 600);
  return (
    <Group gap="sm" align="flex-end" role="search" aria-label="Filter executions">
      <TextInput
        label="Task"
        placeholder="Its whole name"
        flex="1 1 180px"
        leftSection={<IconSearch size={14} />}
        value={task}
        onChange={(event) => {
          setTask(event.currentTarget.value);
          apply(event.currentTarget.value);
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter') onChange({ ...view, task: task.trim() });
        }}
      />
      <MultiSelect
        label="States"
        size="sm"
        flex="1 1 150px"
        placeholder={view.states.length ? '' : 'All'}
        value={view.states}
        data={EXECUTION_STATES.map((state) => ({ value: state, label: wordOf(state) }))}
        onChange={(states) => {
          onChange({ ...view, states: states as ExecutionState[] });
        }}
        clearable
      />
      <Select
        label="Nominal time"
        flex="1 1 150px"
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
    </Group>
  );
}
