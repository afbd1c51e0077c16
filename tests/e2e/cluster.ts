import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python');
const READY_MS = 90_000;
/** Below the ports that Linux gives to clients, one of which could take the port of a node that is down for a while. */
const [FIRST_PORT, END_PORT] = [10_000, 12_000];
let lastPort = FIRST_PORT + (process.pid % (END_PORT - FIRST_PORT));

interface Member {
  id: string;
  grpc: number;
  http: number;
  process?: ChildProcess;
}

interface Status {
  leaderId?: string;
  nodes?: { votes?: boolean }[];
}

/** Three real nodes on this machine, on free ports, with their data in a directory that is removed at the end. */
export class Cluster {
  private readonly directory = mkdtempSync(join(tmpdir(), 'raftsched-e2e-'));

  private constructor(private readonly members: Member[]) {}

  static async start(size = 3): Promise<Cluster> {
    const ports = await freePorts(2 * size);
    const cluster = new Cluster(
      Array.from({ length: size }, (_, index) => {
        return { id: `n${String(index + 1)}`, grpc: ports[index] ?? 0, http: ports[index + size] ?? 0 };
      }),
    );
    for (const member of cluster.members) cluster.run(member.id);
    await cluster.settled();
    return cluster;
  }

  ids(): string[] {
    return this.members.map((member) => member.id);
  }

  /** Wait until all nodes run, answer and vote, and one leads. */
  async settled(): Promise<void> {
    for (const member of this.members) if (!member.process) this.run(member.id);
    await until(
      async () => {
        const answers = this.members.map((member) => this.status(member));
        const seen = await Promise.all(answers);
        const leaders = new Set(seen.map((status) => status?.leaderId ?? ''));
        const voters = seen[0]?.nodes?.filter((node) => node.votes).length;
        return leaders.size === 1 && !leaders.has('') && voters === this.members.length;
      },
      READY_MS,
      () => this.logs(),
    );
  }

  /** One address for several nodes: each connection goes to the first of them that takes it. */
  async balancer(ids: string[]): Promise<{ url: string; close: () => Promise<void> }> {
    const ports = ids.map((id) => this.member(id).http);
    const open = new Set<Socket>();
    const server = createServer((client) => {
      const join = ([port, ...rest]: number[]) => {
        if (port === undefined) return client.destroy();
        const node = connect(port, '127.0.0.1');
        node.once('connect', () => {
          client.pipe(node).pipe(client);
          node.once('close', () => client.destroy());
          client.once('close', () => node.destroy());
        });
        node.on('error', () => (node.connecting || node.readyState !== 'open' ? join(rest) : client.destroy()));
        return undefined;
      };
      open.add(client);
      client.on('error', () => client.destroy());
      client.once('close', () => open.delete(client));
      join(ports);
    });
    const port = await listen(server);
    return {
      url: `http://127.0.0.1:${String(port)}`,
      close: () =>
        new Promise((settle) => {
          for (const each of open) each.destroy();
          server.close(() => {
            settle();
          });
        }),
    };
  }

  /** Address of a node's pages. */
  url(id: string): string {
    return `http://127.0.0.1:${String(this.member(id).http)}`;
  }

  /** The leader as the first node that answers knows it; empty while there is none. */
  async leader(): Promise<string> {
    for (const member of this.members) {
      const leader = (await this.status(member))?.leaderId;
      if (leader && this.member(leader).process) return leader;
    }
    return '';
  }

  /** What a node says of the cluster; undefined when it does not run. */
  private async status(member: Member): Promise<Status | undefined> {
    try {
      const response = await fetch(`${this.url(member.id)}/v1/cluster`, { signal: AbortSignal.timeout(3000) });
      return (await response.json()) as Status;
    } catch {
      return undefined;
    }
  }

  /** A node that does not lead. */
  async follower(): Promise<string> {
    const leader = await this.leader();
    return this.members.find((member) => member.id !== leader && member.process)?.id ?? '';
  }

  run(id: string): void {
    const member = this.member(id);
    const log = openSync(this.log(id), 'a');
    const peers = this.members.map((each) => `${each.id}=127.0.0.1:${String(each.grpc)}`).join(',');
    const options = ['--id', id, '--listen', `127.0.0.1:${String(member.grpc)}`, '--peers', peers];
    const started = spawn(
      join(dirname(PYTHON), 'raftsched'),
      // As the start script does: the founder may keep the flag.
      ['node', ...options, '--data-dir', join(this.directory, id), ...(id === 'n1' ? ['--found'] : [])],
      {
        cwd: this.directory,
        env: { ...process.env, RAFTSCHED_HTTP_LISTEN: `127.0.0.1:${String(member.http)}` },
        stdio: ['ignore', log, log],
      },
    );
    started.on('error', (error) => {
      throw new Error(`${id} cannot start: ${error.message}. Is there an environment? ./scripts/setup dev makes it.`);
    });
    member.process = started;
  }

  /** Kill a node with no chance to say goodbye. */
  async kill(id: string): Promise<void> {
    const { process: running } = this.member(id);
    if (!running) return;
    const ended = new Promise((settle) => running.once('exit', settle));
    running.kill('SIGKILL');
    await ended;
    delete this.member(id).process;
  }

  async stop(): Promise<void> {
    for (const member of this.members) await this.kill(member.id);
    rmSync(this.directory, { recursive: true, force: true });
  }

  logs(): string {
    return this.members.map((member) => readFileSync(this.log(member.id), 'utf8').slice(-2000)).join('\n');
  }

  private log(id: string): string {
    return join(this.directory, `${id}.log`);
  }

  private member(id: string): Member {
    const found = this.members.find((member) => member.id === id);
    if (!found) throw new Error(`There is no node ${id}`);
    return found;
  }
}

/** Wait until something holds; throws with `told` after the deadline. */
export async function until(holds: () => Promise<boolean>, deadlineMs: number, told: () => string): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`It did not come true in ${String(deadlineMs)} ms.\n${told()}`);
    await new Promise((settle) => setTimeout(settle, 200));
  }
}

/** Ports that nobody listens on, and that were not given before. */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let tries = END_PORT - FIRST_PORT; ports.length < count; tries -= 1) {
    if (!tries) throw new Error(`There are no ${String(count)} free ports`);
    lastPort = lastPort + 1 < END_PORT ? lastPort + 1 : FIRST_PORT;
    if (await isFree(lastPort)) ports.push(lastPort);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const server = createServer();
    server.once('error', () => {
      settle(false);
    });
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        settle(true);
      });
    });
  });
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}
