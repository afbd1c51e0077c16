import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { launch } from './browser.ts';

/** For what has to wait for a process, an election or a machine that has much else to do. */
export const SLOW_MS = 60_000;

/** Of the browser, which is not that of any schedule. */
export const ZONE = 'America/New_York';

type Json = Record<string, unknown>;

/** A browser with one page on one node, which notices errors and whatever is asked of other hosts. */
export class Session {
  readonly troubles: string[] = [];

  private constructor(
    readonly browser: Browser,
    readonly context: BrowserContext,
    readonly page: Page,
    public base: string,
  ) {}

  static async start(base: string, options: BrowserContextOptions = {}): Promise<Session> {
    const browser = await launch();
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      timezoneId: ZONE,
      ...options,
    });
    const session = new Session(browser, context, await context.newPage(), base);
    session.watch(session.page);
    return session;
  }

  watch(page: Page): void {
    page.setDefaultTimeout(SLOW_MS);
    page.on('pageerror', (error) => this.troubles.push(error.message));
    page.on('request', (request) => {
      if (!request.url().startsWith(this.base) && !request.url().startsWith('data:')) {
        this.troubles.push(`asked ${request.url()}`);
      }
    });
    page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) this.troubles.push(message.text());
    });
  }

  async stop(): Promise<void> {
    await this.browser.close();
  }

  /** Go on with another address. What is shown leaves first, since it asks the address before until it is gone. */
  async move(base: string): Promise<void> {
    await this.page.goto('about:blank');
    this.base = base;
  }

  open(path: string): Promise<unknown> {
    return this.page.goto(this.base + path);
  }

  text(words: string | RegExp): Locator {
    return this.page.getByText(words).first();
  }

  button(name: string): Locator {
    return this.page.getByRole('button', { name, exact: true });
  }

  /** Open a menu and choose from it. */
  async menu(name: string, item: string): Promise<void> {
    await this.button(name).click();
    await this.page.getByRole('menuitem', { name: item }).click();
  }

  field(label: string): Locator {
    const literal = label.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
    return this.page.getByLabel(new RegExp(`^${literal}( \\*)?$`)).first();
  }

  /** Open what is folded under a title. */
  async unfold(title: string): Promise<void> {
    const fold = this.page
      .locator('details', { has: this.page.locator(':scope > summary', { hasText: title }) })
      .last();
    await fold.waitFor();
    if (!(await fold.evaluate((element) => (element as HTMLDetailsElement).open)))
      await fold.locator('> summary').click();
  }

  heading(name: string): Promise<void> {
    return this.page.getByRole('heading', { level: 1, name, exact: true }).waitFor({ timeout: SLOW_MS });
  }

  seen(words: string | RegExp): Promise<void> {
    return this.text(words).waitFor({ state: 'visible', timeout: SLOW_MS });
  }

  /** Call the API. Throws when it answers with an error. */
  async call(method: string, path: string, body?: Json): Promise<Json> {
    const response = await fetch(this.base + path, {
      method,
      ...(body ? { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${text}`);
    return (text ? JSON.parse(text) : {}) as Json;
  }

  /** Register a task, by default one that does nothing and never comes to fire by itself. */
  async task(name: string, parts: Json = {}): Promise<string> {
    await this.call('POST', '/v1/tasks', {
      name,
      schedule: { cron: { expression: '@yearly' } },
      action: { noop: {} },
      ...parts,
    });
    return name;
  }

  /** Run a task and wait for the end; the id of the execution. */
  async run(name: string): Promise<string> {
    const { id } = (await this.call('POST', `/v1/tasks/${name}:run`)) as { id: string };
    for (const end = Date.now() + SLOW_MS; Date.now() < end;) {
      if ((await this.call('GET', `/v1/executions/${id}`)).endTime) return id;
      await new Promise((settle) => setTimeout(settle, 100));
    }
    throw new Error(`${name} did not end`);
  }
}

/** A session for the tests of a file, on the shared nodes; after each test nothing may have gone wrong behind the page. */
export function useSession(): () => Session {
  let session: Session | undefined;
  beforeAll(async () => {
    session = await Session.start(process.env.E2E_URL ?? '');
  });
  afterEach(() => {
    expect(session?.troubles.splice(0)).toEqual([]);
  });
  afterAll(() => session?.stop());
  return () => {
    if (!session) throw new Error('the browser did not start');
    return session;
  };
}

/** Something that a command waits for: `wait` is a piece of shell that goes on when it has been opened. */
export class Gate {
  private readonly directory = mkdtempSync(join(tmpdir(), 'raftsched-e2e-gate-'));
  readonly wait = `while [ -e ${this.directory} ]; do sleep 0.1; done`;

  open(): void {
    rmdirSync(this.directory);
  }
}

/** A shell command as an action. */
export function shell(script: string): Json {
  return { command: { argv: [script], shell: true } };
}
