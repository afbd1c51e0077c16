"""Recurring tasks that fire evenly."""

from datetime import UTC, datetime, timedelta

from bench.cluster import Cluster
from bench.measure import Figures, cpu_figures, quantile, usage
from bench.tasks import create, lateness_s, new_task, sleep_until, wait_for_ends


def steady(cluster: Cluster, *, per_second: int = 100, seconds: int = 60, action: str = "noop") -> Figures:
    """PER_SECOND tasks, each every second, spread evenly: lateness, and nominal times without a run."""
    with cluster.client() as client:
        anchor = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
        end = anchor + timedelta(seconds=seconds)
        schedule = {"every": timedelta(seconds=1), "start": anchor, "end": end}
        firsts = (anchor + timedelta(microseconds=1_000_000 * n // per_second) for n in range(per_second))
        create(client, (new_task(f"steady-{n:05}", action, anchor=at, **schedule) for n, at in enumerate(firsts)))
        sleep_until(anchor)
        before = usage(cluster.pids())
        sleep_until(end)
        wait_for_ends(client, per_second * seconds, within_s=60)
        after = usage(cluster.pids())
        late_ms = [late_s * 1000 for late_s in lateness_s(client, anchor, end)]
    return {
        "fires_per_s": per_second,
        "seconds": seconds,
        "missed": per_second * seconds - len(late_ms),
        "lateness_p50_ms": round(quantile(late_ms, 0.5), 1),
        "lateness_p99_ms": round(quantile(late_ms, 0.99), 1),
        "lateness_max_ms": round(max(late_ms), 1),
        **cpu_figures(before, after, per_second * seconds),
        "resident_mib_per_node": round(after.resident_mib / cluster.nodes),
    }
