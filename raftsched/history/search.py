"""Finds records, newest first, with a bound on what one call looks at."""

import heapq
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState
from raftsched.history.index import stored_text
from raftsched.history.query import snippet, to_fts
from raftsched.history.records import Kind, decision_record, execution_record, ledger_key_of
from raftsched.history.schema import BODY, UNUSUAL, seq_ms, time_floor

SCANNED_RECORDS = 100_000
"""That one call looks at in each of its ways."""
SCANNED_MATCHES = 20_000
"""Matches of a text that one call looks at when there are other conditions."""
DEFAULT_KINDS = frozenset[int]((Kind.EXECUTION, Kind.DECISION))
_NEWEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for; what is empty does not filter."""

    kinds: frozenset[int] = DEFAULT_KINDS
    query: str = ""
    task: str = ""
    task_prefix: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    states: frozenset[int] = frozenset()
    executor: str = ""
    start_us: int = 0
    end_us: int = 0
    """0: no end."""
    min_duration_us: int | None = None
    max_duration_us: int | None = None
    exit_codes: frozenset[int] = frozenset()
    triggers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found."""

    seq: int
    kind: Kind
    key: bytes
    task: str
    body: bytes
    snippet: str


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and where the next one goes on: below this ``seq``; 0 when there is nothing more."""

    hits: list[Hit]
    resume: int


def search(sql: sqlite3.Connection, wanted: Search, before: int, limit: int) -> Found:
    """Up to ``limit`` records below ``before`` (0: from the newest). Raises query.QuerySyntaxError."""
    expression, terms = to_fts(wanted.query) if wanted.query else ("", [])
    low = time_floor(wanted.start_us) if wanted.start_us else 0
    high = min(before or _NEWEST, time_floor(wanted.end_us + 999) if wanted.end_us else _NEWEST)
    tid = 0
    if wanted.task:
        row = sql.execute("SELECT tid FROM tasks WHERE name = ?", (wanted.task,)).fetchone()
        if row is None:
            return Found([], 0)
        tid = int(row[0])
    conditions, arguments = _conditions(wanted, tid)
    pages = [_page(sql, way, conditions, arguments, limit) for way in _ways(wanted, expression, tid, low, high)]
    # Each way is complete down to its frontier: what lies below the highest of them comes with the next page.
    frontier = max(page.frontier for page in pages)
    merged = heapq.merge(*(page.seqs for page in pages), reverse=True)
    seqs = [seq for _, seq in zip(range(limit), (each for each in merged if each >= frontier), strict=False)]
    more = frontier > 0 or sum(len(page.seqs) for page in pages) > len(seqs)
    resume = (seqs[-1] if len(seqs) == limit else frontier) if more else 0
    return Found([_hit(sql, seq, terms) for seq in seqs], resume)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to candidates, newest first: a query for their ``seq``."""

    query: str
    arguments: tuple[object, ...]
    bound: int


@dataclass(frozen=True, slots=True)
class _Page:
    """What was found on one way, complete down to the frontier (0: to the end)."""

    seqs: list[int]
    frontier: int


def _ways(wanted: Search, expression: str, tid: int, low: int, high: int) -> list[_Way]:
    if expression:
        query = "SELECT rowid AS seq FROM texts WHERE texts MATCH ? AND rowid >= ? AND rowid < ? ORDER BY rowid DESC"
        return [_Way(query, (expression, low, high), SCANNED_MATCHES)]
    if tid and wanted.kinds == {Kind.TASK_CHANGE}:
        query = (
            "SELECT seq FROM records INDEXED BY records_changes WHERE tid = ? AND kind = 3 AND seq >= ? AND seq < ? "
            "ORDER BY seq DESC"
        )
        return [_Way(query, (tid, low, high), SCANNED_RECORDS)]
    if tid:
        query = (
            "SELECT seq FROM records INDEXED BY records_task WHERE tid = ? AND seq >= ? AND seq < ? ORDER BY seq DESC"
        )
        return [_Way(query, (tid, low, high), SCANNED_RECORDS)]
    if wanted.states and ExecutionState.SUCCEEDED not in wanted.states:
        query = (
            f"SELECT seq FROM records INDEXED BY records_state WHERE {UNUSUAL} AND state = ? "  # noqa: S608 - all parts are ours
            "AND seq >= ? AND seq < ? ORDER BY seq DESC"
        )
        return [_Way(query, (state, low, high), SCANNED_RECORDS) for state in sorted(wanted.states)]
    query = "SELECT seq FROM records WHERE seq >= ? AND seq < ? ORDER BY seq DESC"
    return [_Way(query, (low, high), SCANNED_RECORDS)]


def _conditions(wanted: Search, tid: int) -> tuple[list[str], list[object]]:
    """On a record ``r``, beside the order and the bounds of time."""
    conditions: list[str] = []
    arguments: list[object] = []

    def add(condition: str, *values: object) -> None:
        conditions.append(condition)
        arguments.extend(values)

    def among(column: str, values: frozenset[int]) -> None:
        add(f"{column} IN ({', '.join('?' * len(values))})", *sorted(values))

    among("r.kind", wanted.kinds)
    if tid:
        add("r.tid = ?", tid)
    if wanted.task_prefix:
        # Names are ASCII.
        names = "SELECT tid FROM tasks WHERE name >= ? AND name < ?"
        add(f"r.tid IN ({names})", wanted.task_prefix, wanted.task_prefix + "\x7f")
    for key, value in wanted.labels.items():
        if value:
            add("r.tid IN (SELECT tid FROM labels WHERE key = ? AND value = ?)", key, value)
        else:
            add("r.tid IN (SELECT tid FROM labels WHERE key = ?)", key)
    if wanted.states:
        among("r.state", wanted.states)
    if wanted.executor:
        add("r.executor = ?", wanted.executor)
    if wanted.min_duration_us is not None:
        add("r.duration_us >= ?", wanted.min_duration_us)
    if wanted.max_duration_us is not None:
        add("r.duration_us <= ?", wanted.max_duration_us)
    if wanted.exit_codes:
        among("r.exit_code", wanted.exit_codes)
    if wanted.triggers:
        among("r.trigger", wanted.triggers)
    return conditions, arguments


def _page(sql: sqlite3.Connection, way: _Way, conditions: list[str], arguments: list[object], limit: int) -> _Page:
    """The first ``limit`` candidates that meet the conditions, among the first ``bound`` that there are."""
    bounded = f"{way.query} LIMIT {way.bound}"
    # CROSS JOIN keeps the order of the candidates, and looks at no more of them than it takes to fill the page.
    query = (
        f"SELECT r.seq FROM ({bounded}) AS c CROSS JOIN records AS r ON r.seq = c.seq "  # noqa: S608 - all parts are ours
        f"WHERE {' AND '.join(conditions)} LIMIT ?"
    )
    seqs = [row[0] for row in sql.execute(query, (*way.arguments, *arguments, limit))]
    assert all(newer > older for newer, older in pairwise(seqs)), "candidates out of order"
    if len(seqs) == limit:
        return _Page(seqs, seqs[-1])
    lowest, looked_at = sql.execute(f"SELECT min(seq), count(*) FROM ({bounded})", way.arguments).fetchone()  # noqa: S608 - all parts are ours
    return _Page(seqs, lowest if looked_at == way.bound else 0)


def _hit(sql: sqlite3.Connection, seq: int, terms: list[str]) -> Hit:
    kind, key, task, body = sql.execute(
        f"SELECT r.kind, r.key, t.name, {BODY} FROM records r JOIN tasks t USING (tid) WHERE r.seq = ?",  # noqa: S608 - all parts are ours
        (seq,),
    ).fetchone()
    found = ""
    if terms and kind != Kind.TASK_CHANGE:
        record = execution_record(key, body) if kind == Kind.EXECUTION else decision_record(ledger_key_of(key), body)
        if record is not None:
            texts = [record.error, record.output, record.past_output]
            found = snippet(texts, terms) or snippet([stored_text(sql, seq)], terms)
    return Hit(seq, Kind(kind), key, task, body, found)


@dataclass(frozen=True, slots=True)
class Run:
    """An execution, in short."""

    execution_id: str
    nominal_ms: int
    state: int
    duration_us: int | None


def recent_runs(sql: sqlite3.Connection, tasks: list[str], limit: int) -> list[list[Run]]:
    """The newest executions of each task, newest first."""
    return [_runs_of(sql, task, limit) for task in tasks]


def _runs_of(sql: sqlite3.Connection, task: str, limit: int) -> list[Run]:
    rows = sql.execute(
        "SELECT r.key, r.seq, r.state, r.duration_us FROM records r INDEXED BY records_task "
        "WHERE r.tid = (SELECT tid FROM tasks WHERE name = ?) AND r.state > 0 ORDER BY r.seq DESC LIMIT ?",
        (task, limit),
    )
    return [Run(ids.to_text(key), seq_ms(seq), state, duration_us) for key, seq, state, duration_us in rows]
