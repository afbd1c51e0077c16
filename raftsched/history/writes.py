"""What a batch of records writes, gathered so that each table is written by one statement, in the order of its keys.

Records that come together are scattered over their tables. In order, a page is looked for, changed and logged once; and
the text index has to begin a new segment for each row that comes after one with a higher number.
"""

import sqlite3
from dataclasses import dataclass, field
from operator import itemgetter

Text = tuple[str, str]
"""Error and output of a record, as the text index is given them."""
NO_TEXT: Text = ("", "")

_Row = tuple[object, ...]
_FIRST = itemgetter(0)
_ADD = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CHANGE = (
    "UPDATE records SET state = ?2, trigger = ?3, executor = ?4, duration_us = ?5, exit_code = ?6, late_bin = ?7, "
    "duration_bin = ?8, backfilled_ms = ?9, has_text = ?10 WHERE seq = ?1"
)


@dataclass(slots=True)
class Writes:
    """Rows by table; ``seq`` is the first of each."""

    added: list[_Row] = field(default_factory=list)
    """Rows of ``records``."""
    changed: list[_Row] = field(default_factory=list)
    """``seq`` and what may change of a row of ``records``."""
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    forgotten: list[tuple[int, str, str]] = field(default_factory=list)
    """Texts as they are indexed, which the text index is to be given to forget them."""
    texts: list[tuple[int, str, str]] = field(default_factory=list)
    has_text: list[tuple[int, bool]] = field(default_factory=list)
    """Of records that are otherwise as they were."""
    wanted: list[tuple[int]] = field(default_factory=list)
    outbox: list[tuple[int, int, int]] = field(default_factory=list)
    """Bounds of a log index, and ``seq``: in the order in which they are to be shipped."""

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
            ("INSERT INTO texts (texts, rowid, error, output) VALUES ('delete', ?, ?, ?)", self.forgotten),
            ("INSERT INTO texts (rowid, error, output) VALUES (?, ?, ?)", self.texts),
            ("INSERT OR REPLACE INTO wanted_outputs VALUES (?, 0, 0)", self.wanted),
        ):
            if rows:
                sql.executemany(statement, sorted(rows, key=_FIRST))
        if self.outbox:
            sql.executemany("INSERT INTO outbox (low, high, seq) VALUES (?, ?, ?)", self.outbox)
