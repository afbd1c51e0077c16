import { useEffect, useState } from 'react';
import { decoded, NOTHING, receive } from '../lib/output.ts';
import { followEvents } from './events.ts';
import { withQuery } from './http.ts';

/** Pieces that come in quick succession are drawn together. */
const DRAW_EVERY_MS = 100;

export interface Followed {
  text: string;
  truncatedBytes: number;
  /** Whether more arrives by itself; if not, the output is to be asked for. */
  open: boolean;
}

/**
 * The output of an attempt while it runs, as the node sends it. After an interruption it goes on where it stopped, with whichever
 * node answers. Undefined until the first piece. A component that uses it stands for one attempt.
 */
export function useFollowedOutput(id: string, enabled: boolean): Followed | undefined {
  const [followed, setFollowed] = useState<Followed>();
  useEffect(() => {
    if (!enabled) return undefined;
    let received = NOTHING;
    let open = false;
    let drawing: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      drawing ??= setTimeout(() => {
        drawing = undefined;
        setFollowed({ text: decoded(received.bytes), truncatedBytes: received.missing, open });
      }, DRAW_EVERY_MS);
    };
    const path = `/v1/executions/${encodeURIComponent(id)}/output`;
    const stop = followEvents(() => withQuery(path, { follow: true, offset: received.offset || undefined }), {
      begin: () => {
        open = true;
        draw();
      },
      message: (data) => {
        received = receive(received, JSON.parse(data) as Parameters<typeof receive>[1]);
        draw();
      },
      down: () => {
        open = false;
        draw();
      },
      end: draw,
    });
    return () => {
      stop();
      clearTimeout(drawing);
    };
  }, [id, enabled]);
  return followed;
}
