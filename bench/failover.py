"""The leader is killed under load."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from raftsched_client import Client, RaftschedError, task
from raftsched_proto.v1 import execution_pb2, task_pb2

from bench.cluster import Cluster
from bench.measure import Figures, Stopwatch, quantile
from bench.tasks import FAR, create, new_task, wait_for_ends


def failover(cluster: Cluster, *, tasks: int = 500, seconds: int = 60, action: str = "noop") -> Figures:
    """TASKS every second; the leader is killed after a third of the time and started again after two thirds.

    A registrar goes on meanwhile. Every nominal time must have exactly one record.
    """
    names = [f"failover-{number:04}" for number in range(tasks)]
    anchor = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    end = anchor + timedelta(seconds=seconds)
    with cluster.client() as client:
        definitions = (
            new_task(name, action, every=timedelta(seconds=1), anchor=anchor, start=anchor, end=end) for name in names
        )
        create(client, definitions)
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
    started = [e for e in executions if e.HasField("start_time")]
    late_s = [(e.start_time.ToMicroseconds() - e.nominal_time.ToMicroseconds()) / 1e6 for e in started]
    starts_us = sorted(e.start_time.ToMicroseconds() for e in started)
    gaps_us = [after - before for before, after in pairwise(starts_us)]
    return {
        "nominal_times": tasks * seconds,
        "with_one_record": records[1],
        "without_record": records[0],
        "with_several_records": sum(count for times, count in records.items() if times > 1),
        "executions": len(executions),
        "longest_gap_without_a_start_s": round(max(gaps_us) / 1e6, 3),
        "started_over_1_s_late": sum(late > 1 for late in late_s),
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


def _wait_for_ledger(client: Client, names: list[str], end: datetime) -> None:
    deadline = time.monotonic() + 60
    for name in names:
        while client.get_task(name).state != task_pb2.TASK_STATE_FINISHED:
            if time.monotonic() > deadline:
                raise SystemExit(f"the task {name} was not decided up to {end}")
            time.sleep(0.2)
    wait_for_ends(client, 0, within_s=60)
