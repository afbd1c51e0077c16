import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { noteConnection, useConnection } from './connection.ts';
import { withQuery } from './http.ts';

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 10_000;
const POLL_MS = 2000;
const POLL_WHILE_STREAMING_MS = 15_000;

/**
 * Keeps what is shown up to date: each change of an execution makes the queries of `keys` old, at most once in `everyMs`.
 * The stream is closed while the page is hidden, since a browser allows only six connections to one address.
 */
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
    let source: EventSource | undefined;
    let retry: ReturnType<typeof setTimeout> | undefined;
    let refresh: ReturnType<typeof setTimeout> | undefined;
    let delayMs = RETRY_MIN_MS;
    const refreshSoon = () => {
      refresh ??= setTimeout(() => {
        refresh = undefined;
        for (const name of names.split(' ')) void client.invalidateQueries({ queryKey: [name] });
      }, everyMs);
    };
    const close = () => {
      clearTimeout(retry);
      source?.close();
      source = undefined;
    };
    const open = () => {
      close();
      const opened = new EventSource(path);
      source = opened;
      opened.addEventListener('begin', () => {
        delayMs = RETRY_MIN_MS;
        noteConnection({ stream: 'open' });
        refreshSoon();
      });
      opened.onmessage = refreshSoon;
      const again = () => {
        if (source !== opened) return;
        close();
        noteConnection({ stream: 'down' });
        retry = setTimeout(open, delayMs);
        delayMs = Math.min(delayMs * 2, RETRY_MAX_MS);
      };
      // The server sends `end` after the last change and `problem` when it cannot go on.
      for (const event of ['error', 'end', 'problem']) opened.addEventListener(event, again);
    };
    const onVisibility = () => {
      if (document.hidden) close();
      else open();
    };
    document.addEventListener('visibilitychange', onVisibility);
    onVisibility();
    return () => {
      document.removeEventListener('visibilitychange', onVisibility);
      close();
      noteConnection({ stream: 'none' });
      clearTimeout(refresh);
    };
  }, [client, path, names, everyMs, enabled]);
}

/** How often a query asks by itself: seldom while changes arrive as events. */
export function usePollMs(): number {
  return useConnection().stream === 'open' ? POLL_WHILE_STREAMING_MS : POLL_MS;
}
