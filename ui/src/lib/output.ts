/** The output of an attempt as it arrives piece by piece. */
import { fromBase64 } from './bytes.ts';
import { formatBytes } from './duration.ts';

/** What is held of an output that grows; what was before it is let go. */
const KEPT_BYTES = 2 << 20;

export interface Received {
  bytes: Uint8Array<ArrayBuffer>;
  /** Where the output goes on: what has arrived, and what is not kept before it. */
  offset: number;
  /** Bytes that are missing in `bytes`. */
  missing: number;
}

export const NOTHING: Received = { bytes: new Uint8Array(), offset: 0, missing: 0 };

/** `before` with one more message of the stream behind it. A gap is said in its place. */
export function receive(before: Received, message: { data?: string; truncatedBytes?: string }): Received {
  const data = fromBase64(message.data);
  const start = Math.max(before.offset, Number(message.truncatedBytes ?? 0));
  const gap = start - before.offset;
  const said = new TextEncoder().encode(gap && before.offset ? `\n… ${formatBytes(gap)} are not kept …\n` : '');
  const whole = joined(before.bytes, said, data);
  const bytes = whole.slice(Math.max(0, whole.length - KEPT_BYTES));
  return { bytes, offset: start + data.length, missing: before.missing + gap + whole.length - bytes.length };
}

/** Bytes as text; a character whose end has not arrived is left out. */
export function decoded(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes, { stream: true });
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
