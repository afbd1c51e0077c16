import { expect, it } from 'vitest';
import type { ClusterStatus, NodeStatus } from '../api/types.ts';
import { learnNodes, otherNodes } from './otherNodes.ts';

const status = (...nodes: [string, string, string?][]): ClusterStatus =>
  ({
    nodes: nodes.map(([id, httpAddress, role = 'FOLLOWER']) => ({ id, httpAddress, role }) as NodeStatus),
  }) as ClusterStatus;

it('remembers where the other nodes are, those that do not answer too', () => {
  let known = learnNodes(new Map(), status(['n1', 'a:1'], ['n2', 'b:1'], ['n3', 'c:1']));
  known = learnNodes(known, status(['n1', 'a:1'], ['n2', '', 'UNREACHABLE'], ['n3', 'c:1', 'LEADER']));
  expect(otherNodes(known, 'a:1')).toEqual([
    { id: 'n3', address: 'c:1' },
    { id: 'n2', address: 'b:1' },
  ]);
});

it('does not name nodes that serve no pages', () => {
  expect(otherNodes(learnNodes(new Map(), status(['n1', 'a:1'], ['n2', ''])), 'a:1')).toEqual([]);
});
