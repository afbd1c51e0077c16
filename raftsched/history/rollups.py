"""Counts of executions per minute and per hour, kept with the records, so that counts over days look at few rows."""

import sqlite3
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import IntEnum

from raftsched.history.schema import seq_ms

WIDTHS_MS = (3_600_000, 60_000)
"""Of the slots of time, widest first; each is a multiple of the narrowest."""


class What(IntEnum):
    """What the ``number`` of a row is."""

    STATE = 0
    LATE_BIN = 1
    DURATION_BIN = 2


Values = tuple[int | None, int | None, int | None]
"""Of a record, in the order of ``What``; None, and state 0, which is that of no execution, are not counted."""
Range = tuple[int, int]
"""From a time until before another, in milliseconds."""


class Rollups:
    """Gathers what a transaction changes, and writes each row once."""

    def __init__(self) -> None:
        self._changes: defaultdict[tuple[int, Values], int] = defaultdict(int)
        """By the number of the narrowest slot, and the values."""

    def clear(self) -> None:
        """A transaction begins."""
        self._changes.clear()

    def add(self, seq: int, values: Values, sign: int) -> None:
        """Count a record (1), or no longer (-1)."""
        self._changes[seq_ms(seq) // WIDTHS_MS[-1], values] += sign

    def write(self, sql: sqlite3.Connection) -> None:
        """The end of the transaction."""
        rows = [(*key, change) for key, change in sorted(self._by_row().items()) if change]
        sql.executemany(
            "INSERT INTO rollups VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count", rows
        )
        sql.executemany(
            "DELETE FROM rollups WHERE what = ? AND width_ms = ? AND slot = ? AND number = ? AND count = 0",
            [row[:4] for row in rows if row[4] < 0],
        )

    def _by_row(self) -> dict[tuple[int, int, int, int], int]:
        found: defaultdict[tuple[int, int, int, int], int] = defaultdict(int)
        for (slot, values), change in self._changes.items():
            if not change:
                continue
            for what, value in enumerate(values):
                if value is None or (what == What.STATE and not value):
                    continue
                for width_ms in WIDTHS_MS:
                    found[what, width_ms, slot * WIDTHS_MS[-1] // width_ms, value] += change
        return found


def counts(
    sql: sqlite3.Connection, what: Sequence[What], edges_ms: Sequence[int], bucket_ms: int, width_ms: int, within: Range
) -> Iterator[tuple[What, int, int, int]]:
    """Of each bucket, by number: what, value and count, of the slots that lie wholly within the range and one bucket.

    ``edges_ms`` are the borders of the buckets, ascending.
    """
    low, high = -(-within[0] // width_ms), within[1] // width_ms
    start = f"(slot * {width_ms} - {edges_ms[0]})"
    for each in what:
        rows = sql.execute(
            f"SELECT {start} / {bucket_ms}, number, sum(count) FROM rollups "  # noqa: S608 - only numbers are put in
            f"WHERE what = ? AND width_ms = ? AND slot >= ? AND slot < ? "
            f"AND {start} / {bucket_ms} = ({start} + {width_ms - 1}) / {bucket_ms} GROUP BY 1, 2",
            (each, width_ms, low, max(low, high)),
        )
        for bucket, number, count in rows:
            yield each, bucket, number, count


def left_over(edges_ms: Sequence[int], width_ms: int, within: Range) -> Iterator[Range]:
    """What of a range ``counts`` leaves out: slots that hold an edge or are cut by an end, neighbours as one."""
    low, high = within
    held = edges_ms[bisect_left(edges_ms, low) : bisect_left(edges_ms, high)]
    first: int | None = None
    last = 0
    for slot in sorted({each // width_ms for each in (low, *held, high) if each % width_ms}):
        if first is not None and slot != last + 1:
            yield max(low, first * width_ms), min(high, (last + 1) * width_ms)
            first = None
        first = slot if first is None else first
        last = slot
    if first is not None:
        yield max(low, first * width_ms), min(high, (last + 1) * width_ms)
