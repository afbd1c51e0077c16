import { Alert } from '@mantine/core';
import { Link } from 'react-router';
import type { Execution, WaitingExecutions } from '../api/types.ts';
import { formatCount } from '../lib/duration.ts';
import { waitingWords, whyItWaits } from '../lib/waiting.ts';
import { Name } from './Name.tsx';
import { Relative, When } from './When.tsx';

/** Of an execution that has not started: what it waits for. */
export function WhyItWaits({ execution }: { execution: Execution }) {
  const why = whyItWaits(execution);
  if (!why) return null;
  return (
    <Alert color="yellow" variant="light" title="Why it has not started">
      <span className="wrap-anywhere">{why}</span>
      {execution.nextAttemptTime ? (
        <>
          {': '}
          <When time={execution.nextAttemptTime} />, <Relative time={execution.nextAttemptTime} />
        </>
      ) : null}
    </Alert>
  );
}

/** Of a task: how many of its executions wait too long, and what for. */
export function TaskWaits({ waits }: { waits: readonly WaitingExecutions[] }) {
  if (!waits.length) return null;
  return (
    <Alert color="yellow" variant="light" title="Executions wait for more than 10 s">
      {waits.map((wait) => (
        <div key={`${wait.reason ?? ''} ${wait.detail ?? ''}`} className="wrap-anywhere">
          {formatCount(wait.count)}: {waitingWords(wait.reason, wait.detail)}. The oldest is of{' '}
          <When time={wait.oldestNominalTime} />, <Relative time={wait.oldestNominalTime} />.
        </div>
      ))}
    </Alert>
  );
}

/** What waits too long in the whole cluster, by reason. */
export function WaitsTable({ waits }: { waits: readonly WaitingExecutions[] }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="What waits">
      <table className="table" aria-label="What waits">
        <thead>
          <tr>
            <th className="end">Executions</th>
            <th>Why</th>
            <th>Oldest</th>
            <th className="wide grow">Tasks</th>
          </tr>
        </thead>
        <tbody>
          {waits.map((wait) => (
            <tr key={`${wait.reason ?? ''} ${wait.detail ?? ''}`}>
              <td className="end">{formatCount(wait.count)}</td>
              <td className="wrap-anywhere">
                {waitingWords(wait.reason, wait.detail)}
                <div className="narrow">
                  <Tasks names={wait.tasks ?? []} />
                </div>
              </td>
              <td className="nowrap">
                <Relative time={wait.oldestNominalTime} />
              </td>
              <td className="wide grow">
                <Tasks names={wait.tasks ?? []} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Tasks({ names }: { names: readonly string[] }) {
  return names.map((name, index) => (
    <span key={name}>
      {index ? ', ' : ''}
      <Link to={`/tasks/${name}`}>
        <Name>{name}</Name>
      </Link>
    </span>
  ));
}
