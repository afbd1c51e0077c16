import { Button, Stack, Text } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { modals } from '@mantine/modals';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { transferLeadership } from '../api/calls.ts';
import { useLive } from '../api/live.ts';
import { useCluster } from '../api/queries.ts';
import type { ClusterStatus, LinkStatus, NodeStatus } from '../api/types.ts';
import { Labels } from '../components/Labels.tsx';
import { NodeCards, Slots } from '../components/Nodes.tsx';
import { PageHead, Panel } from '../components/Panel.tsx';
import { Empty, Remote } from '../components/Remote.tsx';
import { Badge, StateBadge } from '../components/State.tsx';
import { tellError } from '../components/taskActions.tsx';
import { clockWords } from '../lib/clock.ts';
import { formatBytes, formatCount, formatDuration, protoDurationMs } from '../lib/duration.ts';

export function ClusterPage() {
  useDocumentTitle('Cluster · raftsched');
  useLive({}, ['cluster'], 2000);
  const cluster = useCluster();
  return (
    <Stack gap="md">
      <PageHead
        title="Cluster"
        note={cluster.data?.clusterId ? <Badge tone="idle">{cluster.data.clusterId}</Badge> : null}
      />
      <Remote query={cluster} rows={8}>
        {(status) => (
          <>
            <Panel title="Nodes">
              <NodeCards
                status={status}
                action={(node) => (node.role === 'FOLLOWER' ? <MakeLeader node={node} /> : null)}
              />
            </Panel>
            <Panel title="Raft" flush>
              <Nodes nodes={status.nodes ?? []} />
            </Panel>
            <Panel title="Clocks" flush>
              <Clocks nodes={status.nodes ?? []} />
            </Panel>
            <Panel title="Links" flush>
              <Links nodes={status.nodes ?? []} />
            </Panel>
            <Panel title="Executors" flush>
              <Executors status={status} />
            </Panel>
          </>
        )}
      </Remote>
    </Stack>
  );
}

function MakeLeader({ node }: { node: NodeStatus }) {
  const client = useQueryClient();
  const transfer = useMutation({
    mutationFn: () => transferLeadership(node.id),
    onSuccess: (leader) => {
      notifications.show({ message: `${leader || node.id} leads`, autoClose: 4000 });
      void client.invalidateQueries({ queryKey: ['cluster'] });
    },
    onError: (error) => {
      tellError('The leadership was not handed over', error);
    },
  });
  return (
    <Button
      variant="default"
      mt={10}
      loading={transfer.isPending}
      onClick={() => {
        modals.openConfirmModal({
          title: `Hand the leadership to ${node.id}?`,
          children: <Text size="sm">Changes wait for a moment. No fire is lost and none is decided twice.</Text>,
          labels: { confirm: 'Hand over', cancel: 'Leave it' },
          onConfirm: () => {
            transfer.mutate();
          },
        });
      }}
    >
      Make leader
    </Button>
  );
}

function Nodes({ nodes }: { nodes: NodeStatus[] }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Raft">
      <table className="table" aria-label="Nodes">
        <thead>
          <tr>
            <th>Node</th>
            <th>Role</th>
            <th className="end">Term</th>
            <th className="end">Committed</th>
            <th className="end">Applied</th>
            <th className="end">Behind</th>
            <th className="end">Log</th>
            <th className="end">Up</th>
            <th>Version</th>
            <th>Time zones</th>
          </tr>
        </thead>
        <tbody>
          {nodes.map((node) => {
            const uptime = protoDurationMs(node.uptime);
            const known = node.role !== 'UNREACHABLE';
            const number = (value: string | undefined) => (known ? formatCount(value) : '–');
            return (
              <tr key={node.id}>
                <td>{node.id}</td>
                <td>
                  <StateBadge state={node.role} />
                </td>
                <td className="end">{number(node.term)}</td>
                <td className="end">{number(node.commitIndex)}</td>
                <td className="end">{number(node.appliedIndex)}</td>
                <td className="end">{number(node.lagEntries)}</td>
                <td className="end nowrap">
                  {known ? `${formatCount(node.logEntries)} · ${formatBytes(Number(node.logSizeBytes ?? 0))}` : '–'}
                </td>
                <td className="end nowrap">{known && uptime !== undefined ? formatDuration(uptime) : '–'}</td>
                <td>{node.version ?? '–'}</td>
                <td>{node.tzdataVersion ?? '–'}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Clocks({ nodes }: { nodes: NodeStatus[] }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Clocks">
      <table className="table" aria-label="Clocks">
        <thead>
          <tr>
            <th>Node</th>
            <th>Clock of its machine</th>
            <th className="end wide">Agreed to within</th>
            <th>Agrees with</th>
            <th>Times are decided</th>
          </tr>
        </thead>
        <tbody>
          {nodes.map(({ id, clock, role }) => {
            const error = protoDurationMs(clock?.error);
            const known = role !== 'UNREACHABLE' && clock !== undefined;
            return (
              <tr key={id}>
                <td>{id}</td>
                <td>{known ? clockWords(clock) : '–'}</td>
                <td className="end wide nowrap">{known && error !== undefined ? formatDuration(error) : '–'}</td>
                <td>{known ? clock.agreeingNodeIds.join(', ') || 'no majority' : '–'}</td>
                <td>
                  {known ? (
                    <Badge tone={clock.certain ? 'good' : 'bad'} dot>
                      {clock.certain ? 'Yes' : 'No'}
                    </Badge>
                  ) : (
                    '–'
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Links({ nodes }: { nodes: NodeStatus[] }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Links">
      <table className="table" aria-label="Links between nodes">
        <thead>
          <tr>
            <th>From</th>
            {nodes.map((node) => (
              <th key={node.id}>To {node.id}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {nodes.map((node) => (
            <tr key={node.id}>
              <td>{node.id}</td>
              {nodes.map((peer) => (
                <td key={peer.id}>
                  <LinkState link={node.links?.find((link) => link.peerId === peer.id)} self={peer.id === node.id} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function LinkState({ link, self }: { link: LinkStatus | undefined; self: boolean }) {
  if (self) return <span className="muted">–</span>;
  if (!link) return <span className="muted">Unknown</span>;
  const silence = protoDurationMs(link.silence);
  return (
    <span className="nowrap">
      <Badge tone={link.connected ? 'good' : 'bad'} dot>
        {link.connected ? 'Connected' : 'Down'}
      </Badge>{' '}
      <span className="muted wide">{silence === undefined ? '' : `heard ${formatDuration(silence)} ago`}</span>
    </span>
  );
}

function Executors({ status }: { status: ClusterStatus }) {
  const executors = status.executors ?? [];
  if (executors.length === 0) {
    return (
      <Empty title="No executor is connected">Tasks wait until one is. Executors are known to the leader alone.</Empty>
    );
  }
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Executors">
      <table className="table" aria-label="Executors">
        <thead>
          <tr>
            <th>Executor</th>
            <th>Node</th>
            <th>State</th>
            <th style={{ minWidth: 150 }}>Slots</th>
            <th>Labels</th>
            <th className="wide">Version</th>
          </tr>
        </thead>
        <tbody>
          {executors.map((executor) => (
            <tr key={executor.id}>
              <td className="mono">
                <div className="clip" style={{ maxWidth: 260 }} title={executor.id}>
                  {executor.id}
                </div>
              </td>
              <td>{executor.nodeId || '–'}</td>
              <td>
                <StateBadge state={executor.state} />
              </td>
              <td>
                <Slots executor={executor} />
              </td>
              <td>
                <Labels labels={executor.labels} />
              </td>
              <td className="wide">{executor.version ?? '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
