"""Many tasks that are due at one instant."""

import time
from datetime import UTC, datetime, timedelta

from raftsched_client import Client

from bench.cluster import Cluster
from bench.measure import LONGEST_INDEXING_S, Figures, Stopwatch, Usage, quantile, usage, wait_for_indexes
from bench.tasks import create, lateness_s, new_task, sleep_until, wait_for_ends

_REGISTERED_PER_S = 2_000
_HEAD_START_S = 30
_DECIDED_PER_S, _LONGEST_AHEAD_S = 3_300, 30.0
"""Nodes begin so early to decide a herd, and what that takes is part of what it costs."""
_LOOK_AGAIN_S = 0.25
"""Between two questions to a node that still indexes; it tells nobody when it is done."""
_LITTLE_LAG = 20
"""Log entries, which idle nodes write too."""


def herd(cluster: Cluster, *, count: int = 10_000, action: str = "noop") -> Figures:
    """COUNT one-time tasks due at the same second: how late each starts, and what all of it costs."""
    with cluster.client() as client:
        head_start_s = _HEAD_START_S + count // _REGISTERED_PER_S
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=head_start_s)
        create(client, (new_task(f"herd-{number:06}", action, at=at) for number in range(count)))
        # The history indexes are busy with the registrations for a while.
        wait_for_indexes(cluster.pids())
        begin = at - timedelta(seconds=min(_LONGEST_AHEAD_S, count / _DECIDED_PER_S) + 1)
        if datetime.now(UTC) >= begin:
            raise SystemExit("registering took longer than the head start; the figure would be wrong")
        sleep_until(begin)
        before = usage(cluster.pids())
        sleep_until(at)
        watch = Stopwatch()
        wait_for_ends(client, count, within_s=60 + count / 500)
        seconds = watch.seconds
        ended = usage(cluster.pids())
        _wait_until_indexed(cluster, count)
        indexed_s = watch.seconds
        # Their upkeep is part of what they cost.
        wait_for_indexes(cluster.pids())
        indexed = usage(cluster.pids())
        late_s = lateness_s(client, at, at)
    return {
        "tasks": count,
        "action": action,
        "started": len(late_s),
        "started_within_10_s": sum(late <= 10 for late in late_s),
        "lateness_p50_s": round(quantile(late_s, 0.5), 3),
        "lateness_p99_s": round(quantile(late_s, 0.99), 3),
        "lateness_max_s": round(max(late_s), 3),
        "all_ended_after_s": round(seconds, 1),
        "all_indexed_after_s": round(indexed_s, 1),
        **_cpu_figures(before, ended, indexed, count),
        "resident_mib_per_node": round(ended.resident_mib / cluster.nodes),
    }


def _wait_until_indexed(cluster: Cluster, count: int) -> None:
    """Until a search finds all executions at each node that keeps an index."""
    watch = Stopwatch()
    for endpoint in cluster.endpoints:
        with Client(endpoint, tls=cluster.tls) as client:
            while (status := client.get_history_status()).executions < count or status.lag_entries > _LITTLE_LAG:
                if status.problem:
                    break
                if watch.seconds > LONGEST_INDEXING_S:
                    raise SystemExit(f"{status.node_id} has indexed {status.executions} of {count} executions")
                time.sleep(_LOOK_AGAIN_S)


def _cpu_figures(before: Usage, ended: Usage, indexed: Usage, count: int) -> Figures:
    """Of the nodes until all has ended, and of their history indexes until these have all of it."""
    nodes_s = ended.cpu_s - ended.history_cpu_s - (before.cpu_s - before.history_cpu_s)
    history_s = indexed.history_cpu_s - before.history_cpu_s
    return {
        "cpu_s_per_1000": round((nodes_s + history_s) / count * 1000, 3),
        "of_it_history_cpu_s_per_1000": round(history_s / count * 1000, 3),
    }
