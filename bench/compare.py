"""A peer, or another revision, and raftsched in turn, under the same load on the same machine: A B B A."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.calibration import Run, calibrate, calibration_line
from bench.directions import better
from bench.measure import Figures
from bench.peers import etcd, herds


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


def compare(
    peer: str, workload: str, options: dict[str, object], rounds: int, run_ours: Callable[[], Figures]
) -> list[str]:
    """Lines of a table of medians and ratios. Raises NotInstalled."""
    comparison = COMPARISONS[peer, workload]
    sides = {peer: lambda: comparison.run(**options), "raftsched": run_ours}
    theirs, ours = measure_in_turn(sides, rounds)
    lines = table((peer, "raftsched"), comparison.pairs, theirs, ours)
    return [*lines, "", f"{in_words(rounds)} {peer}: {comparison.differs}."]


def measure_in_turn(sides: dict[str, Callable[[], Figures]], rounds: int) -> tuple[list[Run], list[Run]]:
    """The runs of either of two sides, of which the figures are printed as they come."""
    names = tuple(sides)
    runs: tuple[list[Run], list[Run]] = ([], [])
    for side in turns(rounds):
        calibration = calibrate()
        runs[side].append(Run(sides[names[side]](), calibration))
        print(f"{names[side]}: {runs[side][-1].figures} {calibration.figures()}", flush=True)
    return runs


def turns(rounds: int) -> Iterator[int]:
    """Which of two sides runs, 0 or 1: what becomes slower or quicker meanwhile meets both alike."""
    for number in range(rounds):
        yield from (1, 0) if number % 2 else (0, 1)


def table(
    sides: tuple[str, str], pairs: Sequence[tuple[str, str]], theirs: Sequence[Run], ours: Sequence[Run]
) -> list[str]:
    """Medians of either side, the ratio of ours to theirs, and the lowest and highest ratio of the two of a round.

    ``pairs``: names of their figure and of ours.
    """
    lines = [f"{'figure':42} {sides[0]:>12} {sides[1]:>12} {'ratio':>8} {'of rounds':>14}  better"]
    for their_name, our_name in pairs:
        their, our = _values(theirs, their_name), _values(ours, our_name)
        name = our_name if their_name == our_name else f"{our_name} : {their_name}"
        medians = statistics.median(their), statistics.median(our)
        lines.append(
            f"{name:42} {medians[0]:>12g} {medians[1]:>12g} {ratio(*medians):>8} {_of_rounds(their, our):>14}"
            f"  {better(our_name) or '-'}"
        )
    for side, runs in zip(sides, (theirs, ours), strict=True):
        lines += ["", f"Calibration before {side}: {calibration_line(runs)}."]
    return lines


def in_words(rounds: int) -> str:
    """How the figures of a table came about."""
    return f"Medians of {rounds} runs each, in turn." if rounds > 1 else "One run each, in turn."


def ratio(their: float, our: float) -> str:
    """Of ours to theirs; "-" when theirs is 0."""
    return f"{our / their:.2f}" if their else "-"


def _of_rounds(their: Sequence[float], our: Sequence[float]) -> str:
    ratios = [after / before for before, after in zip(their, our, strict=True) if before]
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else "-"


def _values(runs: Sequence[Run], name: str) -> list[float]:
    return [float(run.figures[name]) for run in runs]
