"""Figures: quantiles, processor time and memory of process trees, and what machine it is."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Figures = dict[str, float | int | str]
"""Figures by name, units in the names."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the values lie; the largest for 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a set of processes and the children that they have waited for."""

    cpu_s: float
    resident_mib: float
    """With the pages of mapped files, such as those of the database, that are in memory now."""
    private_mib: float
    """Without them."""


def usage(pids: Sequence[int]) -> Usage:
    """Processor time used so far, and memory at this moment, of processes that run."""
    cpu_ticks = resident_pages = shared_pages = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_ticks += sum(int(field) for field in fields[11:15])
        resident_pages += int(fields[21])
        shared_pages += int(Path(f"/proc/{pid}/statm").read_text().split()[2])
    mib = _PAGE_BYTES / (1 << 20)
    return Usage(cpu_ticks / _TICKS_PER_S, resident_pages * mib, (resident_pages - shared_pages) * mib)


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
