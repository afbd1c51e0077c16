import { Alert, Button, Stack } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from 'react-router';
import { cancelExecution, getOutput, outputPath, runTask } from '../api/calls.ts';
import { useLive } from '../api/live.ts';
import { useFollowedOutput } from '../api/output.ts';
import { useExecution } from '../api/queries.ts';
import { Problem } from '../api/problem.ts';
import type { Execution } from '../api/types.ts';
import { PastAttempts } from '../components/Attempts.tsx';
import { Waterfall } from '../components/charts.tsx';
import { Output } from '../components/Output.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { StateBadge } from '../components/State.tsx';
import { WhyItWaits } from '../components/Waiting.tsx';
import { tellError } from '../components/taskActions.tsx';
import { FullTime } from '../components/When.tsx';
import { formatBytes, formatCount, formatDuration } from '../lib/duration.ts';
import { isArmed, isEnded, runMs } from '../lib/stats.ts';
import { useNow } from '../lib/useNow.ts';

const OUTPUT_POLL_MS = 1000;
const TRIGGERS: Record<string, string> = {
  TRIGGER_MANUAL: 'Run by hand',
  TRIGGER_CHAIN: 'After other tasks',
  TRIGGER_BACKFILL: 'Backfill',
};

export function ExecutionPage() {
  const { id = '' } = useParams();
  const execution = useExecution(id);
  const ended = execution.data !== undefined && isEnded(execution.data);
  useDocumentTitle(`${execution.data?.task ?? 'Execution'} · raftsched`);
  useLive({ id }, ['execution', 'output'], 300, !ended);
  if (execution.error instanceof Problem && execution.error.status === 404) {
    return (
      <Panel>
        <Empty page title="There is no such execution">
          Executions are kept for a limited time. See <Link to="/executions">those that are kept</Link>.
        </Empty>
      </Panel>
    );
  }
  return <Remote query={execution}>{(data) => <Details execution={data} />}</Remote>;
}

function Details({ execution }: { execution: Execution }) {
  const ended = isEnded(execution);
  return (
    <Stack gap="md">
      <PageHead
        title={<Link to={`/tasks/${execution.task}`}>{execution.task}</Link>}
        note={<StateBadge state={execution.state} />}
        actions={<Actions execution={execution} ended={ended} />}
      />
      <WhyItWaits execution={execution} />
      {execution.error ? (
        <Alert
          color={execution.state === 'EXECUTION_STATE_CANCELLED' ? 'gray' : 'red'}
          variant="light"
          title="Why it did not succeed"
        >
          <span className="wrap-anywhere">{execution.error}</span>
        </Alert>
      ) : null}
      <div className="grid-2">
        <Panel title="Execution">
          <Facts execution={execution} />
        </Panel>
        <Panel title="Timing">
          <Timing execution={execution} />
        </Panel>
      </div>
      {(execution.attempt ?? 1) > 1 ? (
        <Panel title="Attempts before the last" flush>
          <PastAttempts execution={execution} />
        </Panel>
      ) : null}
      <Panel title={(execution.attempt ?? 1) > 1 ? 'Output of the last attempt' : 'Output'}>
        <LiveOutput key={`${execution.id} ${String(execution.attempt)}`} execution={execution} ended={ended} />
      </Panel>
    </Stack>
  );
}

function Actions({ execution, ended }: { execution: Execution; ended: boolean }) {
  const navigate = useNavigate();
  const cancel = useMutation({
    mutationFn: () => cancelExecution(execution.id),
    onSuccess: () => {
      notifications.show({ message: 'Cancelling', autoClose: 3000 });
    },
    onError: (error) => {
      tellError('Not cancelled', error);
    },
  });
  const again = useMutation({
    mutationFn: () => runTask(execution.task),
    onSuccess: (started) => navigate(`/executions/${started.id}`),
    onError: (error) => {
      tellError('Not started', error);
    },
  });
  return (
    <>
      {ended ? null : (
        <Button
          variant="default"
          loading={cancel.isPending}
          onClick={() => {
            cancel.mutate();
          }}
        >
          Cancel
        </Button>
      )}
      <Button
        variant="default"
        loading={again.isPending}
        onClick={() => {
          again.mutate();
        }}
      >
        Run again
      </Button>
    </>
  );
}

function Facts({ execution }: { execution: Execution }) {
  const now = useNow();
  const ran = runMs(execution, now);
  const { exitCode, httpStatus } = execution;
  const facts: [string, React.ReactNode][] = [
    ['Id', <span className="mono">{execution.id}</span>],
    ['Trigger', TRIGGERS[execution.trigger ?? ''] ?? 'Schedule'],
    ['Attempts', formatCount(execution.attempt)],
    ...(execution.nextAttemptTime && !execution.endTime
      ? ([['Next attempt', <FullTime time={execution.nextAttemptTime} />]] as [string, React.ReactNode][])
      : []),
    ['Fencing token', formatCount(execution.fencingToken)],
    ['Executor', execution.executorId ? <span className="mono">{execution.executorId}</span> : '–'],
    ['Decided by', execution.leaderId ? `${execution.leaderId}, term ${formatCount(execution.term)}` : '–'],
    ['Duration', ran === undefined ? '–' : formatDuration(ran)],
  ];
  if (exitCode !== undefined)
    facts.push(['Exit code', exitCode < 0 ? `Killed by signal ${String(-exitCode)}` : exitCode]);
  if (httpStatus !== undefined) facts.push(['HTTP status', httpStatus]);
  facts.push(['Output', formatBytes(Number(execution.outputSizeBytes ?? 0))]);
  return (
    <dl className="facts">
      {facts.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name} value`}>{value}</dd>])}
    </dl>
  );
}

function Timing({ execution }: { execution: Execution }) {
  return (
    <Stack gap="md">
      <Waterfall execution={execution} nowMs={useNow()} />
      <dl className="facts">
        <dt>Nominal time</dt>
        <dd>
          <FullTime time={execution.nominalTime} />
        </dd>
        <dt>Decided</dt>
        <dd>
          <FullTime time={execution.fireTime} />
        </dd>
        {(execution.attempt ?? 1) > 1 ? (
          <>
            <dt>First started</dt>
            <dd>
              <FullTime time={execution.firstStartTime} />
            </dd>
          </>
        ) : null}
        <dt>Started</dt>
        <dd>
          <FullTime time={execution.startTime} />
        </dd>
        <dt>Ended</dt>
        <dd>
          <FullTime time={execution.endTime} />
        </dd>
      </dl>
    </Stack>
  );
}

/** The output of one attempt: sent by the node while it runs, asked for each second when that fails, and once in the end. */
function LiveOutput({ execution, ended }: { execution: Execution; ended: boolean }) {
  const started = execution.startTime !== undefined;
  const followed = useFollowedOutput(execution.id, started && !ended);
  const output = useQuery({
    queryKey: ['output', execution.id, execution.attempt, ended],
    queryFn: ({ signal }) => getOutput(execution.id, signal),
    enabled: ended || (started && followed?.open === false),
    placeholderData: (before) => before,
    refetchInterval: ended ? false : OUTPUT_POLL_MS,
  });
  if (!started && !ended)
    return <Empty title={isArmed(execution) ? 'It starts at its nominal time' : 'It waits to start'} />;
  const file = { path: outputPath(execution.id), name: `${execution.task}-${execution.id}.txt` };
  const asked = output.isPlaceholderData ? undefined : output.data;
  const sent =
    followed && !(ended && asked) && followed.text.length >= (asked?.text.length ?? 0) ? followed : undefined;
  if (sent) return <Output text={sent.text} truncatedBytes={sent.truncatedBytes} running={!ended} file={file} />;
  return (
    <Remote query={output}>
      {(data) => <Output text={data.text} truncatedBytes={data.truncatedBytes} running={!ended} file={file} />}
    </Remote>
  );
}
