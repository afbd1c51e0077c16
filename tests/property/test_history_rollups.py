"""Counts from rollups are those of a scan, after any changes of the records, for any buckets."""

import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from raftsched.core.state.rows import ExecutionRow
from raftsched.history import schema
from raftsched.history.counts import Span, count
from raftsched.history.index import Index
from raftsched.history.records import Kind, Record, bin_top_us

BASE_US = 1_800_000_000_000_000
HOUR_MS = 3_600_000
NOW_US = BASE_US + 2 * HOUR_MS * 1000
times = st.one_of(
    st.integers(0, 4 * HOUR_MS), st.integers(0, 4 * 60).map(lambda minute: minute * 60_000), st.just(HOUR_MS - 1)
)
changes = st.one_of(
    # Which of a few records, its time, its state, how late, how long.
    st.tuples(
        st.just("put"), st.integers(0, 4), times, st.integers(1, 9), st.integers(0, 10**8), st.integers(1, 10**9)
    ),
    st.tuples(st.just("decide"), st.integers(0, 4), times),
    st.tuples(st.just("remove"), st.integers(0, 4)),
    st.tuples(st.just("undo"), st.integers(0, 4)),
)
spans = st.tuples(
    st.one_of(times, st.integers(-HOUR_MS, 0)),
    st.one_of(times, st.just(5 * HOUR_MS)),
    st.one_of(st.integers(1_000, 10 * 60_000), st.sampled_from([60_000, HOUR_MS, HOUR_MS // 2, 24 * HOUR_MS, 61_000])),
)


def record(number: int, ms: int, state: int, late_us: int, ran_us: int) -> Record:
    time_us = BASE_US + ms * 1000
    lateness_us = late_us if state > 1 else None
    body = ExecutionRow(task="job", state=state, first_start_us=lateness_us, not_before_us=ran_us).SerializeToString()
    return Record(
        key=number.to_bytes(16, "big"), kind=Kind.EXECUTION, task="job", time_us=time_us, body=body, state=state,
        lateness_us=lateness_us, duration_us=ran_us if state > 3 else None, final=state > 3,
    )  # fmt: skip


class Undone(Exception):
    """Ends a transaction."""


def remove(index: Index, number: int) -> None:
    found = index.sql.execute("SELECT seq FROM records WHERE key = ?", (number.to_bytes(16, "big"),)).fetchall()
    index.remove([seq for (seq,) in found])


def apply(index: Index, change: tuple, times_ms: dict[int, int]) -> None:
    match change:
        case ("put", number, ms, *rest):
            # The nominal time of an execution does not change.
            index.put(record(number, times_ms.setdefault(number, ms), *rest), 1)
        case ("decide", number, ms):
            key = b"D" + number.to_bytes(16, "big")
            index.put(Record(key=key, kind=Kind.DECISION, task="job", time_us=BASE_US + ms * 1000, body=b""), 1)
        case ("remove", number):
            remove(index, number)


def scan(sql: sqlite3.Connection, start_ms: int, end_ms: int, bucket_ms: int) -> dict[int, list[Counter[int]]]:
    found: dict[int, list[Counter[int]]] = {}
    for seq, *values in sql.execute("SELECT seq, state, late_bin, duration_bin FROM records WHERE state > 0"):
        ms = schema.seq_ms(seq)
        if start_ms <= ms < end_ms:
            counters = found.setdefault((ms - start_ms) // bucket_ms, [Counter(), Counter(), Counter()])
            for counter, value in zip(counters, values, strict=True):
                counter.update([] if value is None else [value])
    return found


def scan_late(sql: sqlite3.Connection, start_ms: int, end_ms: int, bucket_ms: int) -> Counter[int]:
    """Those whose body says that they started, or have not, more than 10 s after their nominal time."""
    found: Counter[int] = Counter()
    for seq, state, late_bin in sql.execute("SELECT seq, state, late_bin FROM records WHERE state > 0"):
        ms = schema.seq_ms(seq)
        waits = state in (1, 2, 9) and late_bin is None and ms < (NOW_US - 10_000_000) // 1000
        if start_ms <= ms < end_ms and (waits or (late_bin is not None and bin_top_us(late_bin - 1) >= 10_000_000)):
            found[(ms - start_ms) // bucket_ms] += 1
    return found


@given(st.lists(changes, max_size=60), st.lists(spans, min_size=1, max_size=6))
def test_counts_are_those_of_a_scan(done: list[tuple], asked: list[tuple[int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        index = Index(schema.open_writer(Path(directory) / "index.sqlite", "test"))
        times_ms: dict[int, int] = {}
        for change in done:
            if change[0] == "undo":
                try:
                    with index.transaction():
                        remove(index, change[1])
                        raise Undone
                except Undone:
                    continue
            with index.transaction():
                apply(index, change, times_ms)
        base_ms = BASE_US // 1000
        for start, end, bucket_ms in asked:
            start_ms, end_ms = base_ms + min(start, end), base_ms + max(start, end)
            expected = scan(index.sql, start_ms, end_ms, bucket_ms)
            late = scan_late(index.sql, start_ms, end_ms, bucket_ms)
            for percentiles in (True, False):
                span = Span(start_ms=start_ms, end_ms=end_ms, bucket_ms=bucket_ms)
                got = count(index.sql, span, NOW_US, percentiles=percentiles)
                assert list(got) == sorted(expected)
                for number, bucket in got.items():
                    wanted = expected[number] if percentiles else [expected[number][0], Counter(), Counter()]
                    assert bucket.late == late.get(number, 0)
                    assert [bucket.states, bucket.lateness.bins, bucket.duration.bins] == wanted
        assert index.sql.execute("SELECT count(*) FROM rollups WHERE count <= 0").fetchone() == (0,)
        index.sql.close()
