import { useSyncExternalStore } from 'react';
import { learnNodes, type KnownNodes } from '../lib/otherNodes.ts';
import type { ClusterStatus } from './types.ts';

let known: KnownNodes = new Map();
const listeners = new Set<() => void>();

/** Keep what a status tells of where nodes serve their pages, for when the node of this page is gone. */
export function rememberNodes(status: ClusterStatus): void {
  known = learnNodes(known, status);
  for (const listener of listeners) listener();
}

/** The nodes of which a status has told. */
export function useKnownNodes(): KnownNodes {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => known,
  );
}
