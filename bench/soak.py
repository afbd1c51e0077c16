"""An hour of even fires with retention at work: do memory and disk grow, and does anything hold the fires up?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from raftsched_client import Client

from bench.cluster import Cluster
from bench.measure import Figures, quantile, usage
from bench.tasks import create, new_task, sleep_until

KEEPS = {
    "RAFTSCHED_SCHEDULER__KEEP_EXECUTIONS_HOURS": "0.1",
    "RAFTSCHED_SCHEDULER__KEEP_LEDGER_HOURS": "0.2",
    "RAFTSCHED_HISTORY__KEEP_PER_TASK": "500",
}
"""Short enough that as much is removed as comes, from the 15th minute of one fire a second for each task on."""
_LOOK = timedelta(seconds=20)
_SETTLED = timedelta(seconds=10)
"""How long after its nominal time an execution is looked at: it has started by then, or is missed."""
_FULL_SHARE = 1 / 3
"""Of the time, until all that is kept is there."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of the executions whose nominal times lie in one span, and of the nodes at its end."""

    started: int
    late_ms: list[float]
    longest_pause_ms: float
    private_mib: float
    data_mib: float


def soak(cluster: Cluster, *, per_second: int = 500, minutes: int = 60) -> Figures:
    """PER_SECOND tasks, each every second, for MINUTES with short retention: growth, and pauses between starts."""
    with cluster.client() as client:
        begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
        end = begin + timedelta(minutes=minutes)
        schedule = {"every": timedelta(seconds=1), "start": begin, "end": end}
        firsts = (begin + timedelta(microseconds=1_000_000 * n // per_second) for n in range(per_second))
        create(client, (new_task(f"soak-{n:05}", "noop", anchor=at, **schedule) for n, at in enumerate(firsts)))
        log_before = client.get_status().nodes[0]
        sleep_until(begin)
        before = usage(cluster.pids())
        looks = []
        start = begin
        while start < end:
            sleep_until(start + _LOOK + _SETTLED)
            looks.append(_look(cluster, client, start, min(start + _LOOK, end)))
            start += _LOOK
        log = client.get_status().nodes[0]
        spent = usage(cluster.pids()).cpu_s - before.cpu_s
    full = looks[round(len(looks) * _FULL_SHARE) :]
    half = len(full) // 2
    late_ms = [each for look in looks for each in look.late_ms]
    fires = per_second * 60 * minutes
    return {
        "fires": fires,
        "missed": fires - sum(look.started for look in looks),
        "lateness_p50_ms": round(quantile(late_ms, 0.5), 1),
        "lateness_p99_ms": round(quantile(late_ms, 0.99), 1),
        "lateness_p99_last_third_ms": round(_p99(full[half:]), 1),
        "lateness_max_ms": round(max(late_ms)),
        "longest_pause_ms": round(max(look.longest_pause_ms for look in looks)),
        "pauses_over_500_ms": sum(look.longest_pause_ms > 500 for look in looks),
        "log_entries_forgotten": log.commit_index - log.log_entries - log_before.commit_index + log_before.log_entries,
        "private_mib_per_node_second_third": round(_mean([look.private_mib for look in full[:half]]) / cluster.nodes),
        "private_mib_per_node_last_third": round(_mean([look.private_mib for look in full[half:]]) / cluster.nodes),
        "data_mib_per_node_second_third": round(_mean([look.data_mib for look in full[:half]]) / cluster.nodes),
        "data_mib_per_node_last_third": round(_mean([look.data_mib for look in full[half:]]) / cluster.nodes),
        "data_mib_per_node_at_end": round(looks[-1].data_mib / cluster.nodes),
        "cpu_s_per_1000": round(spent / fires * 1000, 3),
    }


def _look(cluster: Cluster, client: Client, start: datetime, end: datetime) -> _Look:
    late_ms, starts_us = [], []
    for each in client.list_executions(start=start, end=end, stale=True):
        if each.HasField("start_time"):
            starts_us.append(each.start_time.ToMicroseconds())
            late_ms.append((starts_us[-1] - each.nominal_time.ToMicroseconds()) / 1e3)
    starts_us.sort()
    pauses_ms = [(later - earlier) / 1e3 for earlier, later in pairwise(starts_us)]
    memory = usage(cluster.pids()).private_mib
    return _Look(len(late_ms), late_ms, max(pauses_ms, default=0.0), memory, cluster.data_mib())


def _p99(looks: Sequence[_Look]) -> float:
    return quantile([each for look in looks for each in look.late_ms], 0.99)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
