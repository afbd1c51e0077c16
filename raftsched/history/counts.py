"""Counts of executions per bucket of time, for charts."""

import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from raftsched.core.state.model import LATE_US, ExecutionState, Trigger
from raftsched.history import rollups
from raftsched.history.records import bin_of, bin_top_us
from raftsched.history.rollups import WIDTHS_MS, Range, What
from raftsched.history.schema import TIE_BITS, UNUSUAL, time_floor

_LATE_BIN = bin_of(LATE_US) or 0
_WAITING = ",".join(
    str(int(state))
    for state in (ExecutionState.PENDING, ExecutionState.ARMED, ExecutionState.ASSIGNED, ExecutionState.EXPIRED)
)
_NOT_STARTED = f"state IN ({_WAITING}) AND late_bin IS NULL AND trigger != {int(Trigger.BACKFILL)}"


@dataclass(slots=True)
class Spread:
    """How durations are spread, by bins that grow by 5 %."""

    bins: Counter[int] = field(default_factory=Counter)

    def percentile_us(self, share: float) -> int:
        """The duration below which ``share`` (0 to 1) of them lie; at most 5 % too high. There must be some."""
        rank, seen = share * self.bins.total(), 0
        numbers = sorted(self.bins)
        for number in numbers:
            seen += self.bins[number]
            if seen >= rank:
                return bin_top_us(number)
        return bin_top_us(numbers[-1])


@dataclass(slots=True)
class Bucket:
    """The executions whose nominal time lies in one bucket of time."""

    states: Counter[int] = field(default_factory=Counter)
    lateness: Spread = field(default_factory=Spread)
    duration: Spread = field(default_factory=Spread)

    late: int = 0
    """How many of them started more than 10 s after their nominal time, or have not started by then."""

    def of(self, what: What) -> Counter[int]:
        """The counts of one kind."""
        return (self.states, self.lateness.bins, self.duration.bins)[what]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Buckets from a time until before another, in milliseconds."""

    start_ms: int
    end_ms: int
    bucket_ms: int
    task: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


Counted = tuple[What, int, int, int]
"""What, the number of the bucket, the value, how many."""


def count(sql: sqlite3.Connection, span: Span, now_us: int, *, percentiles: bool) -> dict[int, Bucket]:
    """The buckets that are not empty, by their number. ``percentiles``: fill the spreads as well."""
    what = tuple(What) if percentiles else (What.STATE, What.LATE_BIN)
    buckets: dict[int, Bucket] = defaultdict(Bucket)
    narrow = bool(span.task or span.labels)
    for each, bucket, number, found in (_scanned if narrow else _rolled_up)(sql, span, what):
        buckets[bucket].of(each)[number] += found
    for found_bucket in buckets.values():
        bins = found_bucket.lateness.bins
        found_bucket.late = sum(found for number, found in bins.items() if number > _LATE_BIN)
        if not percentiles:
            bins.clear()
    for bucket, found in _unstarted(sql, span, now_us):
        buckets[bucket].late += found
    return dict(sorted(buckets.items()))


def _unstarted(sql: sqlite3.Connection, span: Span, now_us: int) -> Iterator[tuple[int, int]]:
    """By bucket, those that are late and have not started."""
    narrowing, narrow = _narrowing(span)
    low, high = time_floor(span.start_ms * 1000), time_floor(min(span.end_ms * 1000, now_us - LATE_US))
    yield from sql.execute(
        f"SELECT ((seq >> {TIE_BITS}) - {span.start_ms}) / {span.bucket_ms}, count(*) FROM records "  # noqa: S608 - no text of callers
        f"WHERE {UNUSUAL} AND {_NOT_STARTED} AND seq >= ? AND seq < ?{narrowing} GROUP BY 1",
        (low, high, *narrow),
    )


def _rolled_up(sql: sqlite3.Connection, span: Span, what: Sequence[What]) -> Iterator[Counted]:
    """From whole hours, then from whole minutes where a bucket begins or ends within an hour, then from records."""
    edges = range(span.start_ms, span.end_ms, span.bucket_ms)
    ranges = [(span.start_ms, span.end_ms)] if edges else []
    for width_ms in WIDTHS_MS:
        rest: list[Range] = []
        for within in ranges:
            yield from rollups.counts(sql, what, edges, span.bucket_ms, width_ms, within)
            rest += rollups.left_over(edges, width_ms, within)
        ranges = rest
    for start_ms, end_ms in ranges:
        yield from _scanned(sql, replace(span, start_ms=start_ms, end_ms=end_ms), what, first_ms=span.start_ms)


def _scanned(
    sql: sqlite3.Connection, span: Span, what: Sequence[What], first_ms: int | None = None
) -> Iterator[Counted]:
    """From the records. ``first_ms``: where the first bucket begins, if not with the span."""
    narrowing, narrow = _narrowing(span)
    low, high = time_floor(span.start_ms * 1000), time_floor(span.end_ms * 1000)
    bucket = f"((seq >> {TIE_BITS}) - {span.start_ms if first_ms is None else first_ms}) / {span.bucket_ms}"
    for each, column in zip(What, ("state", "late_bin", "duration_bin"), strict=True):
        if each in what:
            rows = sql.execute(
                f"SELECT {bucket}, {column}, count(*) FROM records "  # noqa: S608 - no text of callers
                f"WHERE seq >= ? AND seq < ? AND state > 0 AND {column} IS NOT NULL{narrowing} GROUP BY 1, 2",
                (low, high, *narrow),
            )
            for number, value, found in rows:
                yield each, number, value, found


def _narrowing(span: Span) -> tuple[str, list[object]]:
    narrowing, arguments = "", list[object]()
    if span.task:
        narrowing += " AND tid = (SELECT tid FROM tasks WHERE name = ?)"
        arguments.append(span.task)
    for key, value in span.labels.items():
        of_value = " AND value = ?" if value else ""
        narrowing += f" AND tid IN (SELECT tid FROM labels WHERE key = ?{of_value})"  # noqa: S608 - no text of callers
        arguments += [key, value] if value else [key]
    return narrowing, arguments


@dataclass(slots=True)
class Day:
    """The executions of one task on one day of a zone."""

    states: Counter[int] = field(default_factory=Counter)
    late: int = 0
    """As of a ``Bucket``."""


def count_days(
    sql: sqlite3.Connection, task: str, start: datetime, end: datetime, zone: ZoneInfo, now_us: int
) -> dict[str, Day]:
    """The executions of a task on each day of a zone; days without any are left out."""
    midnights = _midnights(start, end, zone)
    days: dict[str, Day] = defaultdict(Day)
    low, high = (time_floor(round(each.timestamp() * 1e6)) for each in (start, end))
    rows = sql.execute(
        f"SELECT (seq >> {TIE_BITS}) / 900000, state, count(*), "  # noqa: S608 - all parts are ours
        f"sum(late_bin > {_LATE_BIN} OR {_NOT_STARTED} AND seq < {time_floor(now_us - LATE_US)}) "
        "FROM records INDEXED BY records_task "
        "WHERE tid = (SELECT tid FROM tasks WHERE name = ?) AND seq >= ? AND seq < ? AND state > 0 GROUP BY 1, 2",
        (task, low, high),
    )
    # Every zone of today begins its days at a quarter of an hour of UTC.
    for quarter, state, found, late in rows:
        day = days[midnights[bisect_right(midnights, quarter * 900, key=lambda each: each[0]) - 1][1]]
        day.states[state] += found
        day.late += late or 0
    return dict(sorted(days.items()))


def _midnights(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[float, str]]:
    """When each day of the zone begins, in seconds since the Unix epoch, and its name."""
    day = start.astimezone(zone).date()
    found: list[tuple[float, str]] = []
    while True:
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        if midnight.astimezone(UTC) >= end.astimezone(UTC) and found:
            return found
        found.append((midnight.timestamp(), day.isoformat()))
        day += timedelta(days=1)
