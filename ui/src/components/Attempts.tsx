import { Button, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { getOutput, listAttempts, outputPath } from '../api/calls.ts';
import type { Attempt, Execution } from '../api/types.ts';
import { fromBase64, lossyUtf8 } from '../lib/bytes.ts';
import { formatBytes, formatDuration } from '../lib/duration.ts';
import { timeMs } from '../lib/time.ts';
import { Result } from './executionTable.tsx';
import { Output } from './Output.tsx';
import { Remote } from './Remote.tsx';
import { StateBadge } from './State.tsx';
import { When } from './When.tsx';

const COLUMNS = 6;

/** The attempts before the last: how each ended, and what it wrote. */
export function PastAttempts({ execution }: { execution: Execution }) {
  const attempts = useQuery({
    // What is past changes only when another attempt is.
    queryKey: ['attempts', execution.id, execution.attempt],
    queryFn: ({ signal }) => listAttempts(execution.id, signal),
    staleTime: Infinity,
  });
  return (
    <Remote query={attempts}>
      {(data) => (
        <Table id={execution.id} attempts={data.filter(({ attempt }) => (attempt ?? 0) < (execution.attempt ?? 0))} />
      )}
    </Remote>
  );
}

function Table({ id, attempts }: { id: string; attempts: Attempt[] }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Attempts">
      <table className="table" aria-label="Attempts">
        <thead>
          <tr>
            <th className="end">Attempt</th>
            <th>State</th>
            <th>Started</th>
            <th className="end">Duration</th>
            <th className="wide">Executor</th>
            <th>Result</th>
          </tr>
        </thead>
        {attempts.map((attempt, index) => (
          <tbody key={attempt.attempt}>
            <Row attempt={attempt} />
            <tr>
              <td colSpan={COLUMNS}>
                <Details id={id} attempt={attempt} open={index === attempts.length - 1} />
              </td>
            </tr>
          </tbody>
        ))}
      </table>
    </div>
  );
}

function Row({ attempt }: { attempt: Attempt }) {
  const start = timeMs(attempt.startTime);
  const end = timeMs(attempt.endTime);
  return (
    <tr>
      <td className="end">{attempt.attempt}</td>
      <td>
        <StateBadge state={attempt.state} />
      </td>
      <td>
        <When time={attempt.startTime} />
      </td>
      <td className="end nowrap">{start === undefined || end === undefined ? '–' : formatDuration(end - start)}</td>
      <td className="wide mono">{attempt.executorId || '–'}</td>
      <td>
        <Result execution={attempt} />
      </td>
    </tr>
  );
}

/** The whole error, and the output: its end, and all that is stored when asked for. */
function Details({ id, attempt, open }: { id: string; attempt: Attempt; open: boolean }) {
  const [whole, setWhole] = useState(false);
  const tailBytes = fromBase64(attempt.outputTail).length;
  const size = Number(attempt.outputSizeBytes ?? 0);
  const output = useQuery({
    queryKey: ['output', id, attempt.attempt, 'past'],
    queryFn: ({ signal }) => getOutput(id, signal, attempt.attempt),
    enabled: whole,
    staleTime: Infinity,
  });
  const file = {
    path: outputPath(id, attempt.attempt),
    name: `${id}-${String(attempt.attempt ?? '')}.txt`,
  };
  const error = attempt.error ? <Text className="wrap-anywhere">{attempt.error}</Text> : null;
  if (!size) return error ?? <Text c="dimmed">Nothing was written</Text>;
  return (
    <details open={open}>
      <summary>{`Error and output of attempt ${String(attempt.attempt ?? '')} (${formatBytes(size)})`}</summary>
      {error}
      {size > tailBytes && !whole ? (
        <Button
          variant="default"
          my={6}
          onClick={() => {
            setWhole(true);
          }}
        >
          Show all that is stored
        </Button>
      ) : null}
      {whole ? (
        <Remote query={output}>
          {(data) => <Output text={data.text} truncatedBytes={data.truncatedBytes} running={false} file={file} />}
        </Remote>
      ) : (
        <Output
          text={lossyUtf8(attempt.outputTail)}
          truncatedBytes={0}
          running={false}
          file={file}
          note={lastOf(tailBytes, size)}
        />
      )}
    </details>
  );
}

function lastOf(shown: number, size: number): string | undefined {
  if (shown === size) return undefined;
  return shown ? `The last ${formatBytes(shown)} of ${formatBytes(size)}` : `${formatBytes(size)}, no longer kept here`;
}
