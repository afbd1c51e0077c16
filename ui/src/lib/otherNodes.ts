import type { ClusterStatus } from '../api/types.ts';

/** A node and where its pages are. */
export interface NodePage {
  id: string;
  /** host:port. */
  address: string;
}

/** What is known of a node's pages, and whether it answered when last asked. */
export type KnownNodes = ReadonlyMap<string, NodePage & { answers: boolean }>;

/** Adds what a status tells; a node that does not answer keeps the address that it had. */
export function learnNodes(known: KnownNodes, status: ClusterStatus): KnownNodes {
  const learnt = new Map(known);
  for (const { id, httpAddress, role } of status.nodes) {
    const address = httpAddress || known.get(id)?.address;
    if (address) learnt.set(id, { id, address, answers: role !== 'UNREACHABLE' });
  }
  return learnt;
}

/** The nodes to go on with when the one at `host` (host:port of the page) is gone: those first that answered it last. */
export function otherNodes(known: KnownNodes, host: string): NodePage[] {
  return [...known.values()]
    .filter(({ address }) => address !== host)
    .toSorted((a, b) => Number(b.answers) - Number(a.answers) || a.id.localeCompare(b.id))
    .map(({ id, address }) => ({ id, address }));
}
