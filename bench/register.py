"""How fast tasks are registered. A registration is acknowledged when a majority of the nodes has it on disk."""

import asyncio

from raftsched_client import AsyncClient, TaskGatherer

from bench.cluster import Cluster
from bench.measure import Figures, Stopwatch, cpu_figures, quantile, usage
from bench.tasks import create, far_tasks


def register(
    cluster: Cluster, *, sequential: int = 300, concurrent: int = 3_000, batched: int = 30_000, in_flight: int = 64
) -> Figures:
    """Registrations per second: one by one, 64 calls in flight (also gathered by the client), and batches."""
    figures: Figures = {}
    with cluster.client() as client:
        delays_ms = []
        watch = Stopwatch()
        for each in far_tasks("sequential", sequential):
            call = Stopwatch()
            client.create_task(each)
            delays_ms.append(call.seconds * 1000)
        figures["sequential_per_s"] = round(sequential / watch.seconds)
        figures["sequential_p50_ms"] = round(quantile(delays_ms, 0.5), 2)
    before = usage(cluster.pids())
    figures["concurrent_64_per_s"] = round(concurrent / asyncio.run(_one_by_one(cluster, concurrent, in_flight)))
    cpu = cpu_figures(before, usage(cluster.pids()), concurrent)
    figures |= {f"concurrent_{name}": value for name, value in cpu.items()}
    before = usage(cluster.pids())
    gathered = 5 * concurrent
    figures["gathered_64_per_s"] = round(gathered / asyncio.run(_gathered(cluster, gathered, in_flight)))
    cpu = cpu_figures(before, usage(cluster.pids()), gathered)
    figures |= {f"gathered_{name}": value for name, value in cpu.items()}
    with cluster.client() as client:
        for size, count in ((100, batched // 3), (1_000, batched)):
            watch = Stopwatch()
            create(client, far_tasks(f"batches-of-{size}", count), size)
            figures[f"batches_of_{size}_per_s"] = round(count / watch.seconds)
    figures["batches_of_100_16_in_flight_per_s"] = round(batched / asyncio.run(_in_batches(cluster, batched, 100, 16)))
    return figures


async def _one_by_one(cluster: Cluster, count: int, in_flight: int) -> float:
    tasks = far_tasks("concurrent", count)

    async def worker(client: AsyncClient) -> None:
        for each in tasks:
            await client.create_task(each)

    async with AsyncClient(cluster.endpoints, tls=cluster.tls) as client:
        watch = Stopwatch()
        await asyncio.gather(*(worker(client) for _ in range(in_flight)))
        return watch.seconds


async def _gathered(cluster: Cluster, count: int, in_flight: int) -> float:
    tasks = far_tasks("gathered", count)

    async def worker(gatherer: TaskGatherer) -> None:
        for each in tasks:
            await gatherer.create_task(each)

    async with AsyncClient(cluster.endpoints, tls=cluster.tls) as client, TaskGatherer(client) as gatherer:
        watch = Stopwatch()
        await asyncio.gather(*(worker(gatherer) for _ in range(in_flight)))
        return watch.seconds


async def _in_batches(cluster: Cluster, count: int, size: int, in_flight: int) -> float:
    tasks = list(far_tasks("parallel", count))
    starts = iter(range(0, count, size))

    async def worker(client: AsyncClient) -> None:
        for start in starts:
            async for result in client.create_tasks(tasks[start : start + size], batch_size=size):
                if result.code:
                    raise SystemExit(f"a registration failed: {result.message}")

    async with AsyncClient(cluster.endpoints, tls=cluster.tls) as client:
        watch = Stopwatch()
        await asyncio.gather(*(worker(client) for _ in range(in_flight)))
        return watch.seconds
