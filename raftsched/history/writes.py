"""What a batch of records writes, gathered so that each table is written by one statement, in the order of its keys.

Records that come together are scattered over their tables. In order, a page is looked for, changed and logged once; and
the text index has to begin a new segment for each row that comes after one with a higher number.
"""

import sqlite3
from dataclasses import dataclass, field
from operator import itemgetter

from raftsched.history.schema import MAX_BODY_BYTES

Text = tuple[str, str]
"""Error and output of a record, as the text index is given them."""
NO_TEXT: Text = ("", "")

_Row = tuple[object, ...]
_FIRST = itemgetter(0)
NONE = -1 << 62
"""Stands for no number, and "" for no text or body, in a row that is given to SQLite.

The module sqlite3 has a fast way only for int, float, str and bytearray. For any other value, None, bytes, truth values
and members of enums included, it looks for adapters, which takes as long as to store two columns.
"""
_TEXT, _NUMBER = "nullif({}, '')", f"nullif({{}}, {NONE})"
_CHANGING = {
    "state": "{}",
    "trigger": "{}",
    "executor": _TEXT,
    "duration_us": _NUMBER,
    "exit_code": _NUMBER,
    "late_bin": _NUMBER,
    "duration_bin": _NUMBER,
    "backfilled_ms": _NUMBER,
    "has_text": "{}",
    "body": _TEXT,
}
"""What may change of a row of ``records``, and how SQLite is given it."""


def _given(first: int) -> list[str]:
    """Of each that may change; the first has this number among the values of the statement."""
    return [how.format(f"?{number}") for number, how in enumerate(_CHANGING.values(), first)]


_COLUMNS = ", ".join(_CHANGING)
_ADD = f"INSERT INTO records (seq, key, kind, tid, {_COLUMNS}) VALUES (?1, ?2, ?3, ?4, {', '.join(_given(5))})"  # noqa: S608 - ours
_CHANGE = f"UPDATE records SET ({_COLUMNS}) = ({', '.join(_given(2))}) WHERE seq = ?1"  # noqa: S608 - ours


@dataclass(slots=True)
class Writes:
    """Rows by table; ``seq`` is the first of each."""

    added: list[_Row] = field(default_factory=list)
    """Rows of ``records``."""
    changed: list[_Row] = field(default_factory=list)
    """``seq``, and what may change of a row of ``records``."""
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    """The large ones."""
    forgotten: list[tuple[int, str, str]] = field(default_factory=list)
    """Texts as they are indexed, which the text index is to be given to forget them."""
    texts: list[tuple[int, str, str]] = field(default_factory=list)
    has_text: list[tuple[int, bool]] = field(default_factory=list)
    """Of records that are otherwise as they were."""
    small_bodies: list[tuple[int, bytearray | str]] = field(default_factory=list)
    """Of records that are otherwise as they were."""
    wanted: list[tuple[int]] = field(default_factory=list)
    outbox: list[tuple[int, int, int]] = field(default_factory=list)
    """Bounds of a log index, and ``seq``: in the order in which they are to be shipped."""

    def small(self, seq: int, body: bytes) -> bytearray | str:
        """The body as the record is given it: "" if it is a large one, which is written for itself."""
        if len(body) <= MAX_BODY_BYTES:
            return bytearray(body)
        self.bodies.append((seq, body))
        return ""

    def replace_text(self, seq: int, before: Text, after: Text) -> None:
        """Index a text instead of another."""
        if before == after:
            return
        if before != NO_TEXT:
            self.forgotten.append((seq, *before))
        if after != NO_TEXT:
            self.texts.append((seq, *after))

    def write(self, sql: sqlite3.Connection) -> None:
        """Write all of them."""
        for statement, rows in (
            (_ADD, self.added),
            (_CHANGE, self.changed),
            ("INSERT OR REPLACE INTO bodies VALUES (?, ?)", self.bodies),
            ("UPDATE records SET has_text = ?2 WHERE seq = ?1", self.has_text),
            ("UPDATE records SET body = nullif(?2, '') WHERE seq = ?1", self.small_bodies),
            ("INSERT INTO texts (texts, rowid, error, output) VALUES ('delete', ?, ?, ?)", self.forgotten),
            ("INSERT INTO texts (rowid, error, output) VALUES (?, ?, ?)", self.texts),
            ("INSERT OR REPLACE INTO wanted_outputs VALUES (?, 0, 0)", self.wanted),
        ):
            if rows:
                sql.executemany(statement, sorted(rows, key=_FIRST))
        if self.outbox:
            sql.executemany("INSERT INTO outbox (low, high, seq) VALUES (?, ?, ?)", self.outbox)
