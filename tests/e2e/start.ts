import { Cluster } from './cluster.ts';

/** Starts the three nodes that most tests share, before any of them; tests that kill nodes start their own. */
export async function setup(): Promise<() => Promise<void>> {
  const cluster = await Cluster.start();
  process.env.E2E_URL = cluster.url(await cluster.follower());
  return () => cluster.stop();
}
