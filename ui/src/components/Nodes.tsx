import { Group, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import type { ClusterStatus, ExecutorStatus, NodeStatus } from '../api/types.ts';
import { formatCount } from '../lib/duration.ts';
import { clockWords } from '../lib/clock.ts';
import { Badge, StateBadge, toneOf, wordOf } from './State.tsx';

/** Every node with its role, how far behind it is, and the slots of its executor. */
export function NodeCards({ status, action }: { status: ClusterStatus; action?: (node: NodeStatus) => ReactNode }) {
  const nodes = status.nodes ?? [];
  const alone = (status.executors ?? []).filter((executor) => !executor.nodeId);
  return (
    <div className="nodes">
      {nodes.map((node) => (
        <div key={node.id} className={node.role === 'LEADER' ? 'node node-leader' : 'node'} data-node={node.id}>
          <Group justify="space-between" wrap="nowrap" mb={6}>
            <Text fw={600}>{node.id}</Text>
            <StateBadge state={node.role} />
          </Group>
          <Text size="xs" c="dimmed" className="mono">
            {node.address}
          </Text>
          <Text size="xs" c="dimmed" mb={8} className="num">
            {node.role === 'UNREACHABLE' ? 'No answer' : `Term ${formatCount(node.term)} · ${lag(node)}`}
          </Text>
          {node.role === 'UNREACHABLE' ? null : (
            <Text size="xs" c="dimmed" mb={8} className="num">
              {clockWords(node.clock)}
            </Text>
          )}
          {node.problem ? (
            <Text size="xs" mb={8} className="wrap-anywhere" style={{ color: 'var(--bad-fg)' }}>
              {node.problem}
            </Text>
          ) : null}
          {(status.executors ?? [])
            .filter((executor) => executor.nodeId === node.id)
            .map((executor) => (
              <Slots key={executor.id} executor={executor} />
            ))}
          {action?.(node)}
        </div>
      ))}
      {alone.map((executor) => (
        <div key={executor.id} className="node">
          <Group justify="space-between" wrap="nowrap" mb={6}>
            <Text fw={600} className="clip" title={executor.id}>
              {executor.id}
            </Text>
            <Badge tone="idle">Executor only</Badge>
          </Group>
          <Slots executor={executor} />
        </div>
      ))}
    </div>
  );
}

function lag(node: NodeStatus): string {
  const entries = node.lagEntries ?? '0';
  return entries === '0' ? 'up to date' : `${formatCount(entries)} ${entries === '1' ? 'entry' : 'entries'} behind`;
}

/** How many slots of an executor are in use. */
export function Slots({ executor }: { executor: ExecutorStatus }) {
  const slots = executor.slots ?? 0;
  const used = executor.slotsUsed ?? 0;
  const ready = executor.state === 'EXECUTOR_STATE_READY';
  return (
    <div>
      <Group justify="space-between" gap={4} mb={3}>
        <Text size="xs" c="dimmed" className="num">
          {used} of {slots} slots in use
        </Text>
        {ready ? null : <Badge tone={toneOf(executor.state)}>{wordOf(executor.state)}</Badge>}
      </Group>
      <div className="meter" aria-hidden>
        <div style={{ width: `${String(slots ? (used / slots) * 100 : 0)}%` }} />
      </div>
    </div>
  );
}
