"""A follower whose disk was lost gets a large state by snapshot while the cluster fires."""

import shutil
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from raftsched_client import Client, RaftschedError
from raftsched_proto.v1 import cluster_pb2

from bench.cluster import Cluster
from bench.measure import Figures, Stopwatch, quantile
from bench.tasks import create, far_tasks, new_task, sleep_until

_BEFORE_S, _AFTER_S = 15, 10
_WITHIN_S = 900
_NEAR_ENTRIES = 100
"""A follower that is no further behind has caught up: the leader goes on meanwhile."""


def snapshot(cluster: Cluster, *, tasks: int = 1_000_000, per_second: int = 200) -> Figures:
    """TASKS that never fire, PER_SECOND that do; a follower is killed, wiped and started again."""
    with cluster.client() as client:
        loading = Stopwatch()
        create(client, far_tasks("far", tasks))
        loaded_s = loading.seconds
        begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
        firsts = (begin + timedelta(microseconds=1_000_000 * number // per_second) for number in range(per_second))
        every = {"every": timedelta(seconds=1), "start": begin}
        create(client, (new_task(f"fires-{n:05}", "noop", anchor=at, **every) for n, at in enumerate(firsts)))
        sleep_until(begin + timedelta(seconds=_BEFORE_S))
        status = client.get_status()
        victim = next(node.id for node in status.nodes if node.id != status.leader_id)
        killed = datetime.now(UTC)
        cluster.script("kill", victim.removeprefix("n"))
        shutil.rmtree(cluster.data_directory(victim) / "state")
        catching_up = Stopwatch()
        cluster.script("start", victim.removeprefix("n"))
        _wait_for(client, victim)
        caught_up_s = catching_up.seconds
        time.sleep(_AFTER_S)
        after = client.get_status()
        end = datetime.now(UTC) - timedelta(seconds=2)
        return {
            "tasks": tasks,
            "fires_per_s": per_second,
            "load_s": round(loaded_s, 1),
            "catch_up_s": round(caught_up_s, 1),
            "elections": after.nodes[0].term - status.nodes[0].term,
            **_fires(client, begin, killed, "before"),
            **_fires(client, killed, end, "meanwhile"),
        }


def _wait_for(client: Client, node_id: str) -> None:
    """Until the node has applied what the others have."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        try:
            nodes = {node.id: node for node in client.get_status(timeout=5.0).nodes}
        except RaftschedError:
            continue
        node = nodes[node_id]
        if node.role == cluster_pb2.FOLLOWER and node.applied_index and node.lag_entries <= _NEAR_ENTRIES:
            return
        time.sleep(0.1)
    raise SystemExit(f"{node_id} did not catch up within {_WITHIN_S} s")


def _fires(client: Client, start: datetime, end: datetime, when: str) -> Figures:
    """How even the starts were in a span of nominal times."""
    executions = [each for each in client.list_executions(start=start, end=end) if each.HasField("start_time")]
    late_ms = [(each.start_time.ToMicroseconds() - each.nominal_time.ToMicroseconds()) / 1e3 for each in executions]
    starts_us = sorted(each.start_time.ToMicroseconds() for each in executions)
    gaps_ms = [(later - earlier) / 1e3 for earlier, later in pairwise(starts_us)]
    return {
        f"fires_{when}": len(executions),
        f"longest_pause_{when}_ms": round(max(gaps_ms)),
        f"lateness_p99_{when}_ms": round(quantile(late_ms, 0.99)),
        f"lateness_max_{when}_ms": round(max(late_ms)),
    }
