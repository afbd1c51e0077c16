"""All workloads within a given time, in rounds: one run of each, the second of those that have several, and so on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from raftsched_client import RaftschedError

from bench.calibration import Run
from bench.registry import Row

OUT_OF_TIME = "Not measured: the time was over."
NOT_YET = "Not measured yet."


@dataclass(slots=True)
class Measured:
    """What is known of one table."""

    row: Row
    results: list[Run] = field(default_factory=list)
    took_s: float = 0.0
    """The longest run."""
    note: str = NOT_YET
    """Why there are no further runs; "" when none is missing."""


def measure_everything(
    rows: Sequence[Row], within_s: float, now_s: Callable[[], float], run: Callable[[Row], Run]
) -> Iterator[list[Measured]]:
    """Run what fits into ``within_s``; yields all tables, as far as they are known, after each run.

    A run is begun when it ends in time if it takes as long as the longest of its kind so far, or as long as expected.
    One that fails (SystemExit, RaftschedError) is told in the table, and the others go on.
    """
    began_s = now_s()
    tables = [Measured(row) for row in rows]
    for number in range(max(row.runs for row in rows)):
        for table in tables:
            if number >= table.row.runs or table.note not in ("", NOT_YET):
                continue
            run_began_s = now_s()
            if run_began_s - began_s + (table.took_s or table.row.expected_s) > within_s:
                table.note = OUT_OF_TIME
            else:
                table.note = _run(table, run)
                table.took_s = max(table.took_s, now_s() - run_began_s)
            yield tables


def _run(table: Measured, run: Callable[[Row], Run]) -> str:
    try:
        table.results.append(run(table.row))
    except (SystemExit, RaftschedError) as failure:
        return f"A run failed: {failure}"
    return ""
