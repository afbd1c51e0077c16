"""The table of workloads: what ``scripts/bench NAME`` runs.

A workload is a function from a fresh, running cluster to its figures. Its keyword arguments with defaults (numbers and
strings) are its options on the command line, and the first line of its docstring is its help.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import failover, floor, herd, reads, register, steady
from bench.measure import Figures


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table."""

    run: Callable[..., Figures]
    needs_cluster: bool = True
    """Whether ``run`` takes a ``bench.cluster.Cluster`` as its first argument."""
    varies: Mapping[str, tuple[object, ...]] | None = None
    """Values of options that ``scripts/bench all`` measures one after the other."""

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
    "failover": Workload(failover.failover),
    "reads": Workload(reads.reads),
    "floor": Workload(floor.floor, needs_cluster=False),
}
