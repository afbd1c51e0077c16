import { useSyncExternalStore } from 'react';

/** What is known of the way to the cluster. */
export interface Connection {
  /** Did the last request reach a node? */
  reachable: boolean;
  /** Was the last read answered without a leader, from what one node has applied? */
  stale: boolean;
  /** Do changes arrive by themselves (server-sent events)? While the stream is down pages poll; some need none. */
  stream: 'open' | 'down' | 'none';
}

let current: Connection = { reachable: true, stale: false, stream: 'none' };
const listeners = new Set<() => void>();

/** Note what was seen; pages that show the connection are drawn again when it differs. */
export function noteConnection(seen: Partial<Connection>): void {
  const next = { ...current, ...seen };
  if (Object.entries(next).every(([key, value]) => current[key as keyof Connection] === value)) return;
  current = next;
  for (const listener of listeners) listener();
}

/** The connection as last seen. */
export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}
