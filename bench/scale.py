"""Many tasks that are registered and do not fire: what they cost, and how long a restart takes."""

import time
from datetime import UTC, datetime, timedelta

from raftsched_proto.v1 import task_pb2

from bench.cluster import Cluster
from bench.measure import Figures, Stopwatch, usage, wait_for_indexes
from bench.tasks import FAR, create, far_tasks, new_task

_IDLE_S = 20.0
_BEATING_S = 20.0
_SETTLE_S = 3.0
"""Until the nodes begin to index what was registered, or have fired for a while: no figure begins before."""
_BEATS = 20
"""Tasks that fire every second, a part of one apart: what a fire costs, and when the first one after a restart is."""


def scale(cluster: Cluster, *, count: int = 100_000) -> Figures:
    """COUNT tasks of the far future: memory, processor time, and SIGKILL of all nodes until they are ready."""
    with cluster.client(timeout_s=120) as client:
        watch = Stopwatch()
        create(client, far_tasks("scale", count))
        registered_per_s = count / watch.seconds
        time.sleep(_SETTLE_S)
        indexed_s = _SETTLE_S + wait_for_indexes(cluster.pids())
        idle = _cpu_s_per_s(cluster, _IDLE_S)
        now = datetime.now(UTC).replace(microsecond=0)
        create(client, (_beat(number, now) for number in range(_BEATS)))
        time.sleep(_SETTLE_S)
        fire_s = (_cpu_s_per_s(cluster, _BEATING_S) - idle) / _BEATS
        after = usage(cluster.pids())
    killed = datetime.now(UTC)
    ready_s = cluster.restart_all(lambda client: client.get_task("beat-0"))
    with cluster.client() as client:
        first_fire_s = _first_start(cluster, killed)
        pages = usage(cluster.pids())
        there = client.get_status().counts.tasks
    return {
        "tasks": count,
        "registered_per_s": round(registered_per_s),
        "indexed_after_s": round(indexed_s),
        "still_there": there - _BEATS,
        "resident_mib_per_node": round(after.resident_mib / cluster.nodes),
        "private_mib_per_node": round(after.private_mib / cluster.nodes),
        "idle_percent_of_a_core_per_node": round(idle / cluster.nodes * 100, 2),
        "cpu_ms_per_fire_at_20_per_s": round(fire_s * 1000, 2),
        "data_mib_per_node": round(cluster.data_mib() / cluster.nodes),
        "kill_of_all_to_ready_s": round(ready_s, 2),
        "kill_of_all_to_first_fire_s": round(first_fire_s, 2),
        "private_mib_per_node_after_restart": round(pages.private_mib / cluster.nodes),
    }


def _cpu_s_per_s(cluster: Cluster, seconds: float) -> float:
    """Processor time of all nodes together for each second of a span of that length."""
    before, watch = usage(cluster.pids()), Stopwatch()
    # The span itself: what is measured is what the nodes do in it.
    time.sleep(seconds)
    return (usage(cluster.pids()).cpu_s - before.cpu_s) / watch.seconds


def _beat(number: int, now: datetime) -> task_pb2.Task:
    first = now + timedelta(seconds=number / _BEATS)
    return new_task(f"beat-{number}", "noop", every=timedelta(seconds=1), anchor=first, start=now, end=FAR)


def _first_start(cluster: Cluster, since: datetime) -> float:
    deadline = time.monotonic() + 30
    with cluster.client() as client:
        while time.monotonic() < deadline:
            starts = [
                each.start_time.ToDatetime(UTC)
                for each in client.list_executions(start=since - timedelta(seconds=2))
                if each.HasField("start_time") and each.start_time.ToDatetime(UTC) > since
            ]
            if starts:
                return (min(starts) - since).total_seconds()
            time.sleep(0.1)
    raise SystemExit("nothing fired within 30 s after the restart")
