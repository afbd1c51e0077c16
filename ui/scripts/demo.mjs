// Fills a cluster with tasks of every kind, groups, calendars and history: node scripts/demo.mjs [address]
// For pictures and for trying the pages. The tasks only print, wait and fail. What exists already is left as it is.
const base = process.argv[2] ?? 'http://127.0.0.1:8101';
const DAY_MS = 86_400_000;

async function call(method, path, body) {
  const response = await fetch(base + path, {
    method,
    headers: { 'Content-Type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (!response.ok && response.status !== 409) throw new Error(`${method} ${path}: ${await response.text()}`);
  return response.json();
}

const shell = (script) => ({ command: { argv: [script], shell: true } });
const cron = (expression, timeZone = 'Europe/Berlin', rest = {}) => ({ cron: { expression, timeZone }, ...rest });
const every = (seconds) => ({ interval: { every: `${seconds}s` } });
const at = (hours) => ({ at: new Date(Date.now() + hours * 3_600_000).toISOString().slice(0, 19) + 'Z' });
const team = (name, env = 'production') => ({ labels: { team: name, env } });

const BACKUP = String.raw`say() { printf '\033[2m%s\033[0m %b\n' "$(date -u +%H:%M:%S)" "$*"; sleep "$PAUSE"; }
say '\033[1mBackup of orders\033[0m, attempt '"$RAFTSCHED_ATTEMPT"
for table in customers invoices items payments shipments; do
  say "\033[36mdump\033[0m  $table  \033[32mok\033[0m"
done
case "$RAFTSCHED_EXECUTION_ID" in
  *[0]) say '\033[33mwarning\033[0m replica is 14 s behind'; say '\033[31merror\033[0m upload: connection refused'; exit 3 ;;
esac
say '\033[36mupload\033[0m  orders.dump  \033[32mok\033[0m'
say '\033[1;32mdone\033[0m'`;
const backup = (pause) => ({ command: { argv: [BACKUP], shell: true, env: { PAUSE: pause } } });
const REFUSED = shell('echo "connecting to billing.internal:5432"; echo "error: connection refused" >&2; exit 1');
const retry = { maxAttempts: 3, initialBackoff: '2s' };

const calendars = [
  {
    name: 'public-holidays',
    exclusions: [
      { date: '2026-12-24', lastDate: '2026-12-26', reason: 'Christmas' },
      { date: '2026-12-31', lastDate: '2027-01-01', reason: 'New Year' },
      { date: '2027-05-01', reason: 'Labour Day' },
    ],
  },
  {
    name: 'release-freeze',
    exclusions: [{ startTime: '2026-12-18T17:00:00Z', endTime: '2027-01-04T07:00:00Z', reason: 'Year-end freeze' }],
  },
];
const groups = [
  { name: 'orders-database', maxRunning: 2 },
  { name: 'mail-provider', maxStarts: 30, period: '60s' },
  { name: 'warehouse', maxRunning: 4, maxStarts: 2000, period: '3600s' },
];
const tasks = [
  {
    name: 'backup.orders',
    schedule: cron('30 1 * * *', 'Europe/Berlin'),
    action: backup('0.05'),
    ...team('platform'),
    timeLimit: '1800s',
    group: 'orders-database',
    overlapPolicy: 'OVERLAP_POLICY_SKIP',
  },
  { name: 'backup.verify', after: [{ task: 'backup.orders' }], action: shell('echo verified'), ...team('platform') },
  { name: 'backup.live', schedule: every(300), action: backup('4'), ...team('platform', 'staging') },
  {
    name: 'billing.invoices',
    schedule: cron('0 6 * * mon-fri', 'Europe/Berlin', { calendars: ['public-holidays'] }),
    action: shell('echo "412 invoices sent"; sleep 2'),
    ...team('billing'),
    group: 'mail-provider',
    retry,
  },
  { name: 'billing.sync', schedule: cron('*/2 * * * *', 'UTC'), action: REFUSED, ...team('billing'), retry },
  {
    name: 'reports.month-end',
    schedule: {
      rrule: { lines: 'FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0', timeZone: 'America/New_York' },
    },
    action: shell('echo report'),
    ...team('finance'),
    delivery: 'DELIVERY_AT_MOST_ONCE',
  },
  {
    name: 'reports.shift-change',
    schedule: { union: { schedules: [cron('0 6,14,22 * * mon-fri'), cron('0 8,20 * * sat,sun')] } },
    action: shell('echo handover'),
    ...team('operations'),
  },
  {
    name: 'search.reindex',
    schedule: every(20),
    action: shell('n=$(( $(date +%s) % 7 )); sleep "$n"; echo "indexed $((n * 1312)) documents"'),
    ...team('search'),
    overlapPolicy: 'OVERLAP_POLICY_QUEUE',
    maxQueued: 3,
    group: 'warehouse',
  },
  { name: 'search.warm-cache', schedule: every(15), action: { noop: {} }, ...team('search'), group: 'warehouse' },
  { name: 'metrics.rollup', schedule: cron('* * * * *', 'UTC'), action: shell('seq 1 4000'), ...team('platform') },
  {
    name: 'health.shop',
    schedule: every(30),
    action: { http: { url: `${base}/v1/cluster`, expectedStatuses: [200] } },
    ...team('operations'),
  },
  {
    name: 'migrate.customer-addresses',
    schedule: at(30),
    action: shell('echo migrated'),
    ...team('platform'),
    priority: 5,
  },
  {
    name: 'rotate.api-keys',
    schedule: cron('0 4 1 */3 *', 'UTC', { calendars: ['release-freeze'] }),
    action: shell('echo rotated'),
    ...team('security'),
  },
  {
    name: 'slow.export',
    schedule: every(600),
    action: shell('for i in $(seq 1 60); do echo "part $i of 60"; sleep 1; done'),
    ...team('finance'),
  },
  {
    name: 'too-slow.scan',
    schedule: cron('*/5 * * * *', 'UTC'),
    action: shell('sleep 60'),
    timeLimit: '5s',
    ...team('security'),
  },
  {
    name: 'waits.train-model',
    schedule: every(300),
    action: shell('echo trained'),
    executorLabels: { gpu: 'yes' },
    ...team('research'),
  },
  {
    name: 'paused.newsletter',
    schedule: cron('0 9 * * tue'),
    action: shell('echo sent'),
    paused: true,
    ...team('marketing'),
  },
];

for (const calendar of calendars) await call('POST', '/v1/calendars', calendar);
for (const group of groups) await call('POST', '/v1/groups', group);
for (const task of tasks) await call('POST', '/v1/tasks', task);
const end = new Date(Math.floor(Date.now() / 1000) * 1000).toISOString();
const back = (days) => new Date(Date.parse(end) - days * DAY_MS).toISOString();
for (const [name, days] of [
  ['backup.orders', 28],
  ['billing.invoices', 28],
]) {
  await call('POST', `/v1/tasks/${name}:backfill`, {
    startTime: back(days),
    endTime: end,
    maxExecutions: 200,
    maxRunning: 2,
  });
}
console.log(`${tasks.length} tasks at ${base}`);
