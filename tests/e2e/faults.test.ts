import { Cluster, until } from './cluster.ts';
import { Session, shell, SLOW_MS } from './session.ts';

let cluster: Cluster;
let s: Session;

beforeAll(async () => {
  cluster = await Cluster.start();
  s = await Session.start(cluster.url(await cluster.follower()));
});

afterEach(() => {
  expect(s.troubles.splice(0)).toEqual([]);
});

afterAll(async () => {
  await s?.stop();
  await cluster?.stop();
});

/** Go on with a node that does not lead, with all three running. */
async function whole(): Promise<void> {
  await cluster.settled();
  await s.move(cluster.url(await cluster.follower()));
}

test('an empty cluster says what to do first', async () => {
  const fresh = await Cluster.start(1);
  try {
    await s.move(fresh.url('n1'));
    await s.open('/');
    await s.seen('Nothing has run yet');
    await s.page.getByRole('link', { name: 'Register a task' }).first().click();
    await s.heading('New task');
    await s.open('/tasks');
    await s.seen('There is no task yet');
  } finally {
    await s.page.goto('about:blank');
    await fresh.stop();
  }
});

test('the leadership is handed over from the cluster page', async () => {
  await whole();
  await s.open('/cluster');
  const before = await cluster.leader();
  await s.button('Make leader').first().click();
  await s.button('Hand over').click();
  await s.seen(/^n\d leads$/);
  expect(await cluster.leader()).not.toBe(before);
});

test('the page goes on when the leader is killed during use', async () => {
  await whole();
  const leader = await cluster.leader();
  await s.open('/cluster');
  await s.page.locator(`[data-node="${leader}"]`).getByText('Leader').waitFor();
  await s.open('/register');
  await s.field('Name').fill('after-the-leader');
  await s.field('Command line').fill('echo still here');
  await cluster.kill(leader);
  await s.button('Register').click();
  await s.heading('after-the-leader');
  await s.button('Run now').click();
  await s.page.getByRole('table', { name: 'Executions' }).getByText('Succeeded').waitFor({ timeout: SLOW_MS });
  await s.page.getByRole('link', { name: 'Cluster' }).click();
  await s.page.locator(`[data-node="${leader}"]`).getByText('Unreachable').waitFor({ timeout: SLOW_MS });
  cluster.run(leader);
  await s.page.locator(`[data-node="${leader}"]`).getByText('Follower').waitFor({ timeout: SLOW_MS });
});

test('the page says when its node is gone and goes on when it is back, without a reload', async () => {
  await whole();
  const follower = await cluster.follower();
  await s.move(cluster.url(follower));
  await s.task('outlives-its-node');
  await s.open('/tasks/outlives-its-node');
  await s.heading('outlives-its-node');
  await cluster.kill(follower);
  await s.seen('Reconnecting');
  await s.heading('outlives-its-node');
  cluster.run(follower);
  await s.text('Reconnecting').waitFor({ state: 'detached', timeout: SLOW_MS });
  await s.seen('Live');
});

test('the page leads to the same page of another node when its own is gone', async () => {
  await whole();
  const follower = await cluster.follower();
  await s.move(cluster.url(follower));
  await s.task('seen-elsewhere');
  await s.open('/tasks/seen-elsewhere?tab=ledger');
  await s.heading('seen-elsewhere');
  const leader = await cluster.leader();
  await s.seen(`Leader ${leader}`);
  await cluster.kill(follower);
  await s.seen('Reconnecting');
  expect(await s.text(`Leader ${leader}`).count()).toBe(0);
  s.base = cluster.url(leader);
  await s.page.getByRole('link', { name: `${leader} at ${new URL(s.base).host}` }).click();
  await s.page.waitForURL(`${s.base}/tasks/seen-elsewhere?tab=ledger`);
  await s.heading('seen-elsewhere');
  await s.seen('Live');
  s.troubles.length = 0;
  cluster.run(follower);
});

test('without a majority the page names the missing nodes and says that what it shows may be old', async () => {
  await whole();
  const [left = '', ...missing] = cluster.ids();
  await s.move(cluster.url(left));
  await s.task('read-without-a-majority');
  await s.open('/tasks/read-without-a-majority');
  await s.heading('read-without-a-majority');
  for (const id of missing) await cluster.kill(id);
  try {
    const banner = s.page.getByRole('status').filter({ hasText: 'There is no majority' });
    await banner.getByText(`Missing: ${missing.join(', ')}`).waitFor({ timeout: SLOW_MS });
    await banner.getByText(/may be old/).waitFor();
    await s.page.getByText('No majority', { exact: true }).waitFor();
    await s.page.reload();
    await s.heading('read-without-a-majority');
    await s.open('/cluster');
    await s.page.getByText('Unreachable').first().waitFor();
    const words = await s.page.locator('body').innerText();
    expect(words).not.toMatch(/UNAVAILABLE|AioRpc|ipv4:|grpc_status|errno/i);
  } finally {
    for (const id of missing) cluster.run(id);
  }
});

test('the cluster page says how far the clock of each node is from the agreed time', async () => {
  await whole();
  await s.open('/cluster');
  const rows = s.page.getByRole('table', { name: 'Clocks' }).getByRole('row');
  for (const id of cluster.ids()) {
    const row = rows.filter({ hasText: id }).filter({ hasText: /Clock (as agreed|\d+ ms (ahead|behind))/ });
    await row.filter({ hasText: 'Yes' }).first().waitFor({ timeout: SLOW_MS });
  }
});

test('the page outlives its node when another is reachable at the same address', async () => {
  await whole();
  const [one = '', other = ''] = cluster.ids();
  const address = await cluster.balancer([one, other]);
  await s.move(address.url);
  try {
    await s.task('behind-a-balancer');
    await s.open('/tasks/behind-a-balancer');
    await s.heading('behind-a-balancer');
    await cluster.kill(one);
    await s.button('Run now').click();
    await s.page.getByRole('table', { name: 'Executions' }).getByText('Succeeded').waitFor({ timeout: SLOW_MS });
    await s.seen('Live');
  } finally {
    await s.page.goto('about:blank');
    await address.close();
    cluster.run(one);
  }
});

test('output goes on line by line when the node that serves it is killed and another is reachable at the same address', async () => {
  await whole();
  const script = 'for i in $(seq 1 600); do echo "row $i"; sleep 0.5; done';
  await s.task('outlives-its-reader', { action: shell(script) });
  const { id } = (await s.call('POST', '/v1/tasks/outlives-its-reader:run')) as { id: string };
  let runsOn = '';
  await until(
    async () => {
      const { executorId } = (await s.call('GET', `/v1/executions/${id}`)) as { executorId?: string };
      runsOn = executorId?.split('-')[0] ?? '';
      return runsOn !== '';
    },
    SLOW_MS,
    () => cluster.logs(),
  );
  const leader = await cluster.leader();
  const [served = ''] = cluster.ids().filter((node) => node !== runsOn && node !== leader);
  const address = await cluster.balancer([served, runsOn]);
  await s.move(address.url);
  try {
    await s.open(`/executions/${id}`);
    const output = s.page.getByRole('log', { name: 'Output' });
    await output.getByText('row 4', { exact: true }).waitFor({ timeout: SLOW_MS });
    await cluster.kill(served);
    const before = (await output.innerText()).trim().split('\n').length;
    await output.getByText(`row ${String(before + 6)}`, { exact: true }).waitFor({ timeout: SLOW_MS });
    const rows = (await output.innerText()).trim().split('\n');
    expect(rows).toEqual(rows.map((_, index) => `row ${String(index + 1)}`));
    expect(await s.page.getByText('Running', { exact: true }).count()).toBeGreaterThan(0);
  } finally {
    await s.page.goto('about:blank');
    await address.close();
    cluster.run(served);
  }
});
