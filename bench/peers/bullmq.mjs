// node herd.mjs COUNT REDIS_PORT: delayed jobs due at one instant, one worker. Prints a line of JSON.
import { readFileSync } from 'node:fs';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const count = Number(process.argv[2]);
const connect = () => new Redis({ host: '127.0.0.1', port: Number(process.argv[3]), maxRetriesPerRequest: null });
const queue = new Queue('herd', { connection: connect() });
const others = (process.env.BENCH_PIDS || '').split(',').filter(Boolean);

function cpuSeconds() {
  const own = process.cpuUsage();
  let ticks = 0;
  for (const pid of others) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return (own.user + own.system) / 1e6 + ticks / 100;
}

const dueAt = Math.ceil((Date.now() + 5000 + count / 4) / 1000) * 1000;
const began = Date.now();
for (let start = 0; start < count; start += 1000) {
  const jobs = [];
  for (let n = start; n < Math.min(count, start + 1000); n += 1) {
    jobs.push({ name: 'noop', data: { n }, opts: { delay: Math.max(1, dueAt - Date.now()) } });
  }
  await queue.addBulk(jobs);
}
const registerS = (Date.now() - began) / 1000;
if (Date.now() >= dueAt) throw new Error('registering took longer than the head start');
const late = [];
const before = cpuSeconds();
await new Promise((resolve) => {
  const worker = new Worker('herd', async () => {
    late.push((Date.now() - dueAt) / 1000);
    if (late.length === count) resolve(worker);
  }, { connection: connect(), concurrency: 100 });
});
// The last jobs are completed after they were processed.
await new Promise((resolve) => setTimeout(resolve, 500));
const answer = JSON.stringify({ late_s: late, register_s: registerS, cpu_s: cpuSeconds() - before });
// Exit drops what a pipe has not taken yet, and it takes 64 KiB at a time.
process.stdout.write(`${answer}\n`, () => process.exit(0));
