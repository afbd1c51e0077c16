import { describe, expect, it } from 'vitest';
import type { Page } from '../api/types.ts';
import { nextRows } from './paging.ts';

/** A server with these pages; the token of a page is its number. */
function server(pages: string[][]): { asked: string[]; ask: (token: string) => Promise<Page<string>> } {
  const asked: string[] = [];
  const ask = (token: string) => {
    asked.push(token);
    const at = Number(token || '0');
    return Promise.resolve({ rows: pages[at] ?? [], next: at + 1 < pages.length ? String(at + 1) : '' });
  };
  return { asked, ask };
}

describe('the next rows', () => {
  it('are those of one call where it finds any', async () => {
    const { asked, ask } = server([['a'], ['b']]);
    expect(await nextRows('', ask)).toEqual({ rows: ['a'], next: '1' });
    expect(asked).toEqual(['']);
  });

  it('are looked for behind empty pages', async () => {
    const { asked, ask } = server([['a'], [], [], ['b'], ['c']]);
    expect(await nextRows('1', ask)).toEqual({ rows: ['b'], next: '4', sparse: true });
    expect(asked).toEqual(['1', '2', '3']);
  });

  it('are none when the last page is empty too', async () => {
    expect(await nextRows('', server([[], []]).ask)).toEqual({ rows: [], next: '', sparse: true });
  });

  it('are given up after some calls, with a way to go on', async () => {
    const { asked, ask } = server(Array.from({ length: 100 }, () => []));
    expect((await nextRows('', ask)).next).toBe('12');
    expect(asked).toHaveLength(12);
  });
});
