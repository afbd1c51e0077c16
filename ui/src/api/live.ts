import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { noteConnection, useConnection } from './connection.ts';
import { followEvents } from './events.ts';
import { withQuery } from './http.ts';

export const POLL_MS = 2000;
const POLL_WHILE_STREAMING_MS = 15_000;

/** Keeps what is shown up to date: each change of an execution makes the queries of `keys` old, at most once in `everyMs`. */
export function useLive(
  filter: { task?: string; id?: string },
  keys: readonly string[],
  everyMs = 1000,
  enabled = true,
): void {
  const client = useQueryClient();
  const path = withQuery('/v1/executions:watch', filter);
  const names = keys.join(' ');
  useEffect(() => {
    if (!enabled) return undefined;
    let refresh: ReturnType<typeof setTimeout> | undefined;
    const refreshSoon = () => {
      refresh ??= setTimeout(() => {
        refresh = undefined;
        for (const name of names.split(' ')) void client.invalidateQueries({ queryKey: [name] });
      }, everyMs);
    };
    const stop = followEvents(() => path, {
      begin: () => {
        noteConnection({ stream: 'open' });
        refreshSoon();
      },
      message: refreshSoon,
      down: () => {
        noteConnection({ stream: 'down' });
      },
    });
    return () => {
      stop();
      noteConnection({ stream: 'none' });
      clearTimeout(refresh);
    };
  }, [client, path, names, everyMs, enabled]);
}

/** How often a query asks by itself: seldom while changes arrive as events. */
export function usePollMs(): number {
  return useConnection().stream === 'open' ? POLL_WHILE_STREAMING_MS : POLL_MS;
}
