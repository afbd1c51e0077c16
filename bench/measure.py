"""Figures: quantiles, processor time and memory of process trees, and what machine it is."""

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Figures = dict[str, float | int | str]
"""Figures by name, units in the names."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LONGEST_INDEXING_S = 1800.0
"""The history indexes have failed when they are not done by then."""
_QUIET_S, _QUIET_CPU_S = 2.0, 0.2
"""All history indexes together need less than this within so long when they have nothing to catch up with."""
_HISTORY = b"raftsched.history.indexer"
"""In the command line of the process that keeps the history index of a node."""


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the values lie; the largest for 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a set of processes, those that they have started, and the children that any of them has waited for."""

    cpu_s: float
    history_cpu_s: float
    """Of it, that of the processes that keep the history index."""
    resident_mib: float
    """With the pages of mapped files, such as those of the database, that are in memory now."""
    private_mib: float
    """Without them."""


def usage(pids: Sequence[int]) -> Usage:
    """Processor time used so far, and memory at this moment, of processes that run."""
    cpu_ticks = history_ticks = resident_pages = shared_pages = 0
    for pid in _with_descendants(pids):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            shared = int(Path(f"/proc/{pid}/statm").read_text().split()[2])
            keeps_history = _HISTORY in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, IndexError):
            if pid in pids:
                raise
            # A process of an action, which has ended meanwhile.
            continue
        ticks = sum(int(field) for field in fields[11:15])
        cpu_ticks += ticks
        history_ticks += ticks if keeps_history else 0
        resident_pages += int(fields[21])
        shared_pages += shared
    mib = _PAGE_BYTES / (1 << 20)
    return Usage(
        cpu_ticks / _TICKS_PER_S,
        history_ticks / _TICKS_PER_S,
        resident_pages * mib,
        (resident_pages - shared_pages) * mib,
    )


def cpu_figures(before: Usage, after: Usage, count: int) -> Figures:
    """Processor time between two looks for each 1,000 of what was done meanwhile, and the part of the history index."""
    return {
        "cpu_s_per_1000": round((after.cpu_s - before.cpu_s) / count * 1000, 3),
        "of_it_history_cpu_s_per_1000": round((after.history_cpu_s - before.history_cpu_s) / count * 1000, 3),
    }


def _with_descendants(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        yield pid
        for thread in _children_files(pid):
            try:
                children = thread.read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield from _with_descendants(map(int, children.split()))


def _children_files(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").glob("*/children"))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / (1 << 20)),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start_s


def wait_for_indexes(pids: Sequence[int]) -> float:
    """Until the history indexes do nothing any more, which come last; the seconds it took."""
    watch = Stopwatch()
    while watch.seconds < LONGEST_INDEXING_S:
        before = usage(pids)
        time.sleep(_QUIET_S)
        if usage(pids).history_cpu_s - before.history_cpu_s < _QUIET_CPU_S:
            return watch.seconds
    raise SystemExit(f"the history indexes still work after {LONGEST_INDEXING_S:g} s")
