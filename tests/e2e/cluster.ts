import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python');
const READY_MS = 90_000;

interface Member {
  id: string;
  grpc: number;
  http: number;
  process?: ChildProcess;
}

/** Three real nodes on this machine, on free ports, with their data in a directory that is removed at the end. */
export class Cluster {
  private readonly directory = mkdtempSync(join(tmpdir(), 'raftsched-e2e-'));

  private constructor(private readonly members: Member[]) {}

  static async start(): Promise<Cluster> {
    const ports = await freePorts(6);
    const cluster = new Cluster(
      [0, 1, 2].map((index) => ({ id: `n${String(index + 1)}`, grpc: ports[index] ?? 0, http: ports[index + 3] ?? 0 })),
    );
    for (const member of cluster.members) cluster.run(member.id);
    await until(
      async () => (await cluster.leader()) !== '',
      READY_MS,
      () => cluster.logs(),
    );
    return cluster;
  }

  /** Address of a node's pages. */
  url(id: string): string {
    return `http://127.0.0.1:${String(this.member(id).http)}`;
  }

  /** The leader as the first node that answers knows it; empty while there is none. */
  async leader(): Promise<string> {
    for (const member of this.members) {
      try {
        const response = await fetch(`${this.url(member.id)}/v1/cluster`, { signal: AbortSignal.timeout(3000) });
        const status = (await response.json()) as { leaderId?: string };
        if (status.leaderId && this.member(status.leaderId).process) return status.leaderId;
      } catch {
        // That one does not run; the next one may.
      }
    }
    return '';
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
      ['node', ...options, '--data-dir', join(this.directory, id)],
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

/** Ports that are free now; held together, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
    const address = server.address();
    if (typeof address === 'object' && address) ports.push(address.port);
  }
  await Promise.all(servers.map((server) => new Promise((settle) => server.close(settle))));
  return ports;
}
