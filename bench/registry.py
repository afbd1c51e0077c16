"""The table of workloads: what ``scripts/bench NAME`` runs.

A workload is a function from a fresh, running cluster to its figures. Its keyword arguments with defaults (numbers and
strings) are its options on the command line, and the first line of its docstring is its help.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench import (
    applying,
    elections,
    failover,
    floor,
    herd,
    history,
    indexing,
    reads,
    register,
    scale,
    snapshot,
    soak,
    steady,
    takeover,
)
from bench.measure import Figures


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table."""

    run: Callable[..., Figures]
    needs_cluster: bool = True
    """Whether ``run`` takes a ``bench.cluster.Cluster`` as its first argument."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment of its nodes besides that of the benchmark, which goes before."""

    @property
    def options(self) -> dict[str, object]:
        """Names of the options, and their defaults."""
        parameters = inspect.signature(self.run).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}

    @property
    def help(self) -> str:
        """What it measures, in a line."""
        return (self.run.__doc__ or "").partition("\n")[0]


WORKLOADS: dict[str, Workload] = {
    "register": Workload(register.register),
    "herd": Workload(herd.herd),
    "steady": Workload(steady.steady),
    "scale": Workload(scale.scale),
    "failover": Workload(failover.failover),
    "snapshot": Workload(snapshot.snapshot),
    "elections": Workload(elections.elections),
    "takeover": Workload(takeover.takeover),
    "soak": Workload(soak.soak, variables=soak.KEEPS),
    "reads": Workload(reads.reads),
    "history": Workload(history.history, needs_cluster=False),
    "indexing": Workload(indexing.indexing, needs_cluster=False),
    "applying": Workload(applying.applying, needs_cluster=False),
    "floor": Workload(floor.floor, needs_cluster=False),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One table of docs/benchmarks.md."""

    name: str
    """Of the workload."""
    options: dict[str, object]
    runs: int
    """How many the median is of, if there is time for them."""
    expected_s: float
    """About how long a run takes on two cores that do nothing else; with the start and the end of its cluster."""


EVERYTHING: tuple[Row, ...] = (
    Row("floor", {}, 3, 20),
    Row("register", {}, 3, 45),
    Row("reads", {}, 3, 30),
    Row("herd", {"count": 1_000}, 3, 20),
    Row("herd", {"count": 10_000}, 3, 35),
    Row("steady", {"per_second": 100, "seconds": 20}, 3, 40),
    Row("steady", {"per_second": 500, "seconds": 20}, 3, 40),
    Row("steady", {"per_second": 1_000, "seconds": 20}, 3, 45),
    Row("steady", {"per_second": 2_000, "seconds": 20}, 3, 50),
    Row("failover", {"tasks": 500, "seconds": 30}, 3, 70),
    Row("scale", {"count": 10_000}, 1, 70),
    Row("scale", {"count": 100_000}, 1, 110),
    Row("herd", {"count": 100_000}, 1, 120),
    Row("herd", {"count": 200_000}, 1, 220),
    Row("scale", {"count": 1_000_000}, 1, 390),
)
"""What ``scripts/bench all`` runs. Long ones run once."""
