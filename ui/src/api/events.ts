import { Retries } from '../lib/retries.ts';

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 10_000;

interface Events {
  /** Nothing is missed from here on. */
  begin: () => void;
  message: (data: string) => void;
  /** The stream broke; it is opened again soon. */
  down: () => void;
  /** Nothing follows. Without it a stream that ends is opened again. */
  end?: () => void;
}

/**
 * Follows server-sent events, and opens the stream again when it breaks. It is closed while the page is hidden, since a browser
 * allows only six connections to one address. `path` is asked on each opening. Returns how to stop.
 */
export function followEvents(path: () => string, on: Events): () => void {
  let source: EventSource | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const retries = new Retries(RETRY_MIN_MS, RETRY_MAX_MS);
  let over = false;
  const close = () => {
    clearTimeout(retry);
    source?.close();
    source = undefined;
  };
  const open = () => {
    close();
    const opened = new EventSource(path());
    source = opened;
    opened.addEventListener('begin', () => {
      retries.began();
      on.begin();
    });
    opened.onmessage = (event: MessageEvent<string>) => {
      on.message(event.data);
    };
    const again = () => {
      if (source !== opened) return;
      close();
      on.down();
      retry = setTimeout(open, retries.failed());
    };
    const ended = () => {
      if (source !== opened) return;
      if (!on.end) {
        again();
        return;
      }
      over = true;
      close();
      on.end();
    };
    // The server sends `end` after the last message and `problem` when it cannot go on.
    opened.addEventListener('error', again);
    opened.addEventListener('problem', again);
    opened.addEventListener('end', ended);
  };
  const onVisibility = () => {
    if (document.hidden) close();
    else if (!over) open();
  };
  document.addEventListener('visibilitychange', onVisibility);
  onVisibility();
  return () => {
    document.removeEventListener('visibilitychange', onVisibility);
    close();
  };
}
