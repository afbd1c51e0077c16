import { describe, expect, it } from 'vitest';
import { toBase64 } from './bytes.ts';
import { decoded, NOTHING, receive, type Received } from './output.ts';

const all = (...messages: { data: string; truncatedBytes?: string }[]): Received =>
  messages.reduce((before, { data, ...rest }) => receive(before, { ...rest, data: toBase64(data) }), NOTHING);

describe('an output that arrives in pieces', () => {
  it('is their text, and goes on behind them', () => {
    const { bytes, offset, missing } = all({ data: 'one\n' }, { data: 'two\n', truncatedBytes: '0' });
    expect([decoded(bytes), offset, missing]).toEqual(['one\ntwo\n', 8, 0]);
  });

  it('may be cut within a character', () => {
    const [first, second] = ['4oI=', 'rA=='];
    const half = receive(NOTHING, { data: first });
    expect(decoded(half.bytes)).toBe('');
    expect(decoded(receive(half, { data: second }).bytes)).toBe('€');
  });

  it('says where something is not kept, and goes on behind it', () => {
    const { bytes, offset, missing } = all({ data: 'one' }, { data: 'two', truncatedBytes: '1027' });
    expect([decoded(bytes), offset, missing]).toEqual(['one\n… 1.0 KiB are not kept …\ntwo', 1030, 1024]);
  });

  it('may begin with what is not kept', () => {
    const { bytes, missing } = all({ data: 'end', truncatedBytes: '4096' });
    expect([decoded(bytes), missing]).toEqual(['end', 4096]);
  });

  it('is let go at its beginning beyond 2 MiB', () => {
    const piece = { data: 'x'.repeat(1 << 20) };
    const { bytes, offset, missing } = all(piece, piece, { data: 'end' });
    expect([bytes.length, offset, missing]).toEqual([2 << 20, (2 << 20) + 3, 3]);
  });
});
