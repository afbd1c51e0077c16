"""How fast tasks are read. A linearizable read waits for a round of heartbeats to a majority; a stale one does not."""

import asyncio
from collections.abc import Awaitable, Callable

from raftsched_client import AsyncClient

from bench.cluster import Cluster
from bench.measure import Figures, Stopwatch, quantile
from bench.tasks import create, far_tasks


def reads(cluster: Cluster, *, tasks: int = 10_000, calls: int = 300, concurrent: int = 3_000) -> Figures:
    """Reads per second of one task and of a page of 1,000: one by one, and 64 in flight."""
    figures: Figures = {}
    with cluster.client() as client:
        create(client, far_tasks("read", tasks))
        for kind, stale in (("get", False), ("stale_get", True)):
            delays_ms = []
            for number in range(calls):
                call = Stopwatch()
                client.get_task(f"read-{number:07}", stale=stale)
                delays_ms.append(call.seconds * 1000)
            figures[f"{kind}_p50_ms"] = round(quantile(delays_ms, 0.5), 2)
        watch = Stopwatch()
        listed = sum(1 for _ in client.list_tasks(name_prefix="read-"))
        figures["listed_tasks_per_s"] = round(listed / watch.seconds)
        figures["page_of_1000_ms"] = round(watch.seconds * 1000 / (listed / 1_000), 1)
    figures["get_64_in_flight_per_s"] = round(asyncio.run(_gets(cluster, tasks, concurrent)))
    return figures


async def _gets(cluster: Cluster, tasks: int, count: int) -> float:
    numbers = iter(range(count))

    async def worker(get: Callable[[str], Awaitable[object]]) -> None:
        for number in numbers:
            await get(f"read-{number % tasks:07}")

    async with AsyncClient(cluster.endpoints) as client:
        watch = Stopwatch()
        await asyncio.gather(*(worker(client.get_task) for _ in range(64)))
        return count / watch.seconds
