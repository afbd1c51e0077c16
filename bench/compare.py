"""A peer and raftsched in turn, under the same load on the same machine: A B A B."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Figures
from bench.peers import etcd, herds

RunOurs = Callable[[str, dict[str, object]], Figures]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload on a peer, and what of it can be set against ours."""

    run: Callable[..., Figures]
    """Takes the same options as our workload."""
    pairs: tuple[tuple[str, str], ...]
    """Names of the peer's figure and of ours."""
    differs: str
    """What the figures do not say."""


_HERD = tuple((name, name) for name in ("started_within_10_s", "lateness_p50_s", "lateness_p99_s", "cpu_s_per_1000"))
_LESS_DURABLE = "one process on one machine, and no record of what ran; its figures are without replication"

COMPARISONS: dict[tuple[str, str], Comparison] = {
    ("etcd", "register"): Comparison(
        etcd.register,
        (
            ("sequential_per_s", "sequential_per_s"),
            ("sequential_p50_ms", "sequential_p50_ms"),
            ("concurrent_64_per_s", "concurrent_64_per_s"),
            ("concurrent_64_per_s", "gathered_64_per_s"),
            ("concurrent_cpu_s_per_1000", "concurrent_cpu_s_per_1000"),
            ("batches_of_100_per_s", "batches_of_100_per_s"),
            ("batches_of_100_16_in_flight_per_s", "batches_of_100_16_in_flight_per_s"),
            ("batches_of_100_16_in_flight_per_s", "batches_of_1000_per_s"),
        ),
        "three nodes with fsync on both sides; etcd stores a key of 150 bytes, raftsched checks a task and indexes it. "
        "Of gathered_64 the client puts what waits into one request, which a client of etcd could do too",
    ),
    ("etcd", "takeover"): Comparison(
        etcd.takeover,
        (
            ("kill_to_next_write_median_ms", "kill_to_first_start_median_ms"),
            ("kill_to_next_write_highest_ms", "kill_to_first_start_highest_ms"),
        ),
        "its default timeouts; the next write that it acknowledges, against the start of an execution",
    ),
    ("bullmq", "herd"): Comparison(herds.bullmq, _HERD, f"Redis, its log synced every second: {_LESS_DURABLE}"),
    ("apscheduler", "herd"): Comparison(herds.apscheduler, _HERD, f"SQLite with fsync: {_LESS_DURABLE}"),
    ("celery", "herd"): Comparison(herds.celery, _HERD, f"Redis, its log synced every second: {_LESS_DURABLE}"),
}


def compare(peer: str, workload: str, options: dict[str, object], rounds: int, run_ours: RunOurs) -> list[str]:
    """Lines of a table of medians and ratios. Raises NotInstalled."""
    comparison = COMPARISONS[peer, workload]
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(comparison.run(**options))
        print(f"{peer}: {theirs[-1]}", flush=True)
        ours.append(run_ours(workload, options))
        print(f"raftsched: {ours[-1]}", flush=True)
    lines = [f"{'figure':36} {peer:>12} {'raftsched':>12} {'ratio':>8}"]
    for their_name, our_name in comparison.pairs:
        their, our = _median(theirs, their_name), _median(ours, our_name)
        name = our_name if their_name == our_name else f"{our_name} : {their_name}"
        lines.append(f"{name:36} {their:>12g} {our:>12g} {our / their if their else float('nan'):>8.2f}")
    return [*lines, "", f"Medians of {rounds} runs each, in turn. {peer}: {comparison.differs}."]


def _median(results: list[Figures], name: str) -> float:
    return statistics.median(float(result[name]) for result in results)
