import type { Page } from '../api/types.ts';

/** The API looks at 10,000 rows in a call at most. */
const MAX_CALLS = 12;

/**
 * The next page that is not empty. A call looks at a bounded number of rows, so a filter that matches few may be answered with an
 * empty page that has more behind it. Gives up after some calls: then the page is empty and has a next one.
 */
export async function nextRows<Row>(token: string, ask: (token: string) => Promise<Page<Row>>): Promise<Page<Row>> {
  let page = await ask(token);
  for (let calls = 1; page.rows.length === 0 && page.next !== '' && calls < MAX_CALLS; calls += 1)
    page = { ...(await ask(page.next)), sparse: true };
  return page;
}
