import { useQuery } from '@tanstack/react-query';
import { diffLines } from 'diff';
import { listChanges } from '../api/calls.ts';
import type { TaskChange } from '../api/types.ts';
import { Pager, usePageToken } from './Pager.tsx';
import { Empty, Remote } from './Remote.tsx';
import { Badge, type Tone } from './State.tsx';
import { FullTime } from './When.tsx';

const KINDS: Record<string, [Tone, string]> = {
  TASK_CHANGE_KIND_CREATED: ['good', 'Created'],
  TASK_CHANGE_KIND_UPDATED: ['busy', 'Changed'],
  TASK_CHANGE_KIND_DELETED: ['bad', 'Deleted'],
};

/** What was done to a task. */
export function ChangeKind({ change }: { change: TaskChange }) {
  const [tone, word] = KINDS[change.kind ?? ''] ?? ['idle', 'Changed'];
  return <Badge tone={tone}>{word}</Badge>;
}

/** The definitions that a task had, newest first, each with what it changed. */
export function Changes({ task }: { task: string }) {
  const page = usePageToken();
  const changes = useQuery({
    queryKey: ['changes', task, page],
    queryFn: ({ signal }) => listChanges(task, page, signal),
    refetchInterval: page ? false : 5000,
  });
  return (
    <Remote query={changes}>
      {({ rows, next }) =>
        rows.length ? (
          <>
            <ol className="changes" aria-label="Changes">
              {rows.map((change, index) => (
                <Change key={change.revision} change={change} before={rows[index + 1]} />
              ))}
            </ol>
            <Pager next={next} shown={rows.length} noun={rows.length === 1 ? 'change' : 'changes'} />
          </>
        ) : (
          <Empty title="No change is on record">
            The last 100 definitions of each task are kept, from the day the cluster began to keep them.
          </Empty>
        )
      }
    </Remote>
  );
}

function Change({ change, before }: { change: TaskChange; before: TaskChange | undefined }) {
  const fields = change.changedFields ?? [];
  return (
    <li>
      <div className="change-head">
        <ChangeKind change={change} />
        <FullTime time={change.time} />
        <span className="muted">{change.actor ? `by ${change.actor}` : ''}</span>
      </div>
      {change.kind === 'TASK_CHANGE_KIND_UPDATED' && before ? (
        <details open={fields.length <= 3}>
          <summary>{fields.length ? fields.join(', ') : 'What changed'}</summary>
          <Difference before={before} after={change} />
        </details>
      ) : change.kind === 'TASK_CHANGE_KIND_DELETED' ? null : (
        <details>
          <summary>The definition</summary>
          <pre className="code">{definitionText(change)}</pre>
        </details>
      )}
    </li>
  );
}

const OUTPUT_ONLY = [
  ...['uid', 'etag', 'generation', 'state', 'createTime', 'updateTime', 'nextFireTime', 'lastFireTime'],
];

function definitionText({ definition }: TaskChange): string {
  const kept = Object.entries(definition ?? {}).filter(([key]) => !OUTPUT_ONLY.includes(key));
  return JSON.stringify(Object.fromEntries(kept), null, 2);
}

function Difference({ before, after }: { before: TaskChange; after: TaskChange }) {
  const parts = diffLines(definitionText(before), definitionText(after));
  return (
    <pre className="code">
      {parts.map((part, index) => {
        const shown = part.added || part.removed ? part.value : around(part.value, index > 0, index < parts.length - 1);
        const sign = part.added ? '+' : part.removed ? '-' : ' ';
        const text = shown.replace(/^(?=.)/gm, `${sign} `);
        if (part.added) return <ins key={index}>{text}</ins>;
        return part.removed ? <del key={index}>{text}</del> : <span key={index}>{text}</span>;
      })}
    </pre>
  );
}

/** Of lines that stayed, the two next to what changed. */
function around(text: string, after: boolean, before: boolean): string {
  const lines = text.split(/(?<=\n)/);
  if (lines.length <= 5) return text;
  const head = after ? lines.slice(0, 2) : [];
  const tail = before ? lines.slice(-2) : [];
  return [...head, '…\n', ...tail].join('');
}
