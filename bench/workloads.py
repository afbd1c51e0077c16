"""The workloads. Each takes a running cluster and returns figures by name, units in the names."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from raftsched_client import AsyncClient, Client, RaftschedError, task
from raftsched_client.v1 import execution_pb2, task_pb2

from bench.cluster import Cluster
from bench.measure import Stopwatch, quantile, usage

Figures = dict[str, float | int | str]
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def _action(kind: str) -> dict[str, object]:
    return {"noop": True} if kind == "noop" else {"command": ["/bin/true"]}


def register(cluster: Cluster, *, sequential: int = 300, concurrent: int = 3_000, batched: int = 30_000) -> Figures:
    """Durable registrations per second: one client call by call, 64 calls in flight, and batches of 1,000."""
    figures: Figures = {}
    with cluster.client() as client:
        delays_ms = []
        watch = Stopwatch()
        for number in range(sequential):
            call = Stopwatch()
            client.create_task(task(f"sequential-{number}", at=FAR, noop=True))
            delays_ms.append(call.seconds * 1000)
        figures["sequential_per_s"] = round(sequential / watch.seconds)
        figures["sequential_p50_ms"] = round(quantile(delays_ms, 0.5), 2)
    figures["concurrent_64_per_s"] = round(concurrent / asyncio.run(_register_concurrently(cluster, concurrent)))
    with cluster.client() as client:
        watch = Stopwatch()
        _create(client, (task(f"batched-{number}", at=FAR, noop=True) for number in range(batched)))
        figures["batches_of_1000_per_s"] = round(batched / watch.seconds)
    return figures


async def _register_concurrently(cluster: Cluster, count: int) -> float:
    numbers = iter(range(count))

    async def worker(client: AsyncClient) -> None:
        for number in numbers:
            await client.create_task(task(f"concurrent-{number}", at=FAR, noop=True))

    async with AsyncClient(cluster.endpoints) as client:
        watch = Stopwatch()
        await asyncio.gather(*(worker(client) for _ in range(64)))
        return watch.seconds


def _create(client: Client, tasks: Iterable[task_pb2.Task]) -> None:
    failed = [result for result in client.create_tasks(tasks) if result.code]
    if failed:
        raise SystemExit(f"{len(failed)} registrations failed: {failed[0].message}")


def herd(cluster: Cluster, *, count: int = 10_000, action: str = "noop") -> Figures:
    """``count`` one-time tasks due at the same second: how late each starts."""
    with cluster.client() as client:
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5 + count // 4_000)
        _create(client, (task(f"herd-{number:06}", at=at, **_action(action)) for number in range(count)))  # type: ignore[arg-type]
        if datetime.now(UTC) >= at:
            raise SystemExit("registering took longer than the head start; the figure would be wrong")
        before = usage(cluster.pids())
        _sleep_until(at)
        _wait_for_ends(client, count, within_s=60 + count / 100)
        after = usage(cluster.pids())
        late_s = [
            (e.start_time.ToMicroseconds() - e.nominal_time.ToMicroseconds()) / 1e6
            for e in client.list_executions(start=at, end=at + timedelta(seconds=1))
        ]
    return {
        "tasks": count,
        "action": action,
        "started": len(late_s),
        "started_within_10_s": sum(late <= 10 for late in late_s),
        "lateness_p50_s": round(quantile(late_s, 0.5), 3),
        "lateness_p99_s": round(quantile(late_s, 0.99), 3),
        "lateness_max_s": round(max(late_s), 3),
        "cpu_s_per_1000": round((after.cpu_s - before.cpu_s) / count * 1000, 3),
        "resident_mib_per_node": round(after.resident_mib / cluster.nodes),
    }


def steady(cluster: Cluster, *, per_second: int = 100, seconds: int = 60, action: str = "noop") -> Figures:
    """Recurring tasks, each every second: lateness, and nominal times without a run."""
    with cluster.client() as client:
        anchor = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
        spread = [anchor + timedelta(microseconds=1_000_000 * n // per_second) for n in range(per_second)]
        end = anchor + timedelta(seconds=seconds)
        every = timedelta(seconds=1)
        _create(
            client,
            (
                task(f"steady-{n:05}", every=every, anchor=first, start=anchor, end=end, **_action(action))  # type: ignore[arg-type]
                for n, first in enumerate(spread)
            ),
        )
        _sleep_until(anchor)
        before = usage(cluster.pids())
        _sleep_until(end)
        _wait_for_ends(client, per_second * seconds, within_s=60)
        after = usage(cluster.pids())
        late_ms = [
            (e.start_time.ToMicroseconds() - e.nominal_time.ToMicroseconds()) / 1e3
            for e in client.list_executions(start=anchor, end=end)
        ]
    return {
        "fires_per_s": per_second,
        "seconds": seconds,
        "missed": per_second * seconds - len(late_ms),
        "lateness_p50_ms": round(quantile(late_ms, 0.5), 1),
        "lateness_p99_ms": round(quantile(late_ms, 0.99), 1),
        "lateness_max_ms": round(max(late_ms), 1),
        "cpu_s_per_1000": round((after.cpu_s - before.cpu_s) / (per_second * seconds) * 1000, 3),
    }


def failover(cluster: Cluster, *, tasks: int = 200, seconds: int = 60, action: str = "noop") -> Figures:
    """Tasks every second for ``seconds``; the leader is killed after a third and started again after two thirds.

    A registrar goes on meanwhile. Every nominal time must have exactly one record.
    """
    names = [f"failover-{number:04}" for number in range(tasks)]
    anchor = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    end = anchor + timedelta(seconds=seconds)
    with cluster.client() as client:
        definitions = (
            task(name, every=timedelta(seconds=1), anchor=anchor, start=anchor, end=end, **_action(action))  # type: ignore[arg-type]
            for name in names
        )
        _create(client, definitions)
        acknowledged: list[str] = []
        longest_wait_s = 0.0
        victim = cluster.leader_number()
        steps: list[tuple[datetime, Callable[[], None]]] = [
            (anchor + (end - anchor) / 3, lambda: cluster.script("kill", str(victim))),
            (anchor + 2 * (end - anchor) / 3, lambda: cluster.script("start", str(victim))),
        ]
        while datetime.now(UTC) < end:
            if steps and datetime.now(UTC) >= steps[0][0]:
                steps.pop(0)[1]()
            name = f"acknowledged-{len(acknowledged):06}"
            call = Stopwatch()
            try:
                client.create_task(task(name, at=FAR, noop=True))
            except RaftschedError:
                continue
            longest_wait_s = max(longest_wait_s, call.seconds)
            acknowledged.append(name)
        _wait_for_ledger(client, names, end)
        records = Counter[int]()
        for name in names:
            records += _records_of(client, name, anchor, seconds)
        executions = list(client.list_executions(start=anchor, end=end))
        there = {each.name for each in client.list_tasks(name_prefix="acknowledged-")}
    late_s = [
        (e.start_time.ToMicroseconds() - e.nominal_time.ToMicroseconds()) / 1e6
        for e in executions
        if e.HasField("start_time")
    ]
    return {
        "nominal_times": tasks * seconds,
        "with_one_record": records[1],
        "without_record": records[0],
        "with_several_records": sum(count for times, count in records.items() if times > 1),
        "executions": len(executions),
        "longest_start_delay_s": round(max(late_s), 3),
        "start_delay_p99_s": round(quantile(late_s, 0.99), 3),
        "registrations_acknowledged": len(acknowledged),
        "registrations_missing": len(set(acknowledged) - there),
        "longest_registration_s": round(longest_wait_s, 3),
    }


def _records_of(client: Client, name: str, anchor: datetime, seconds: int) -> Counter[int]:
    """How many nominal times of a task have 0, 1, 2, ... records."""
    ranges = [
        (entry.nominal_time.ToMicroseconds(), entry.last_nominal_time.ToMicroseconds())
        for entry in client.list_ledger(name)
        if entry.trigger == execution_pb2.TRIGGER_SCHEDULE
    ]
    first_us = int(anchor.timestamp() * 1e6)
    times = (first_us + 1_000_000 * number for number in range(seconds))
    return Counter(sum(low <= time_us <= high for low, high in ranges) for time_us in times)


def _sleep_until(when: datetime) -> None:
    time.sleep(max(0.0, (when - datetime.now(UTC)).total_seconds()))


def _wait_for_ends(client: Client, count: int, within_s: float) -> None:
    """Until the cluster counts as many executions, and none of them is open."""
    open_states = (
        execution_pb2.EXECUTION_STATE_PENDING,
        execution_pb2.EXECUTION_STATE_ASSIGNED,
        execution_pb2.EXECUTION_STATE_RUNNING,
    )
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if client.get_status().counts.executions >= count and not any(
            True for _ in client.list_executions(states=open_states, page_size=1)
        ):
            return
        time.sleep(0.5)
    raise SystemExit(f"not all of {count} executions ended within {within_s:.0f} s")


def _wait_for_ledger(client: Client, names: list[str], end: datetime) -> None:
    deadline = time.monotonic() + 60
    for name in names:
        while client.get_task(name).state != task_pb2.TASK_STATE_FINISHED:
            if time.monotonic() > deadline:
                raise SystemExit(f"the task {name} was not decided up to {end}")
            time.sleep(0.2)
    _wait_for_ends(client, 0, within_s=60)
