"""Where records stand in the index: where their time and key say, so that the keys need no index of their own.

A record whose place was taken when it came stands at the next that was free, and its key in the table ``displaced``.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from raftsched.history.rollups import Values
from raftsched.history.schema import BODY, first_seq, seq_ms

T = TypeVar("T")
V = TypeVar("V", int, bytes)
_AT_ONCE = 500
"""Values that one statement is given; SQLite takes up to 32,766."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index has of a record."""

    seq: int
    key: bytes
    kind: int
    state: int
    late_bin: int | None
    duration_bin: int | None
    has_text: int | None
    """Whether it is in the text index; None: an older version wrote it, and did not say."""
    body: bytes | None
    """None where it was not asked for."""

    @property
    def counted(self) -> Values:
        """What the rollups count of it."""
        return self.state, self.late_bin, self.duration_bin


_COLUMNS = "r.seq, r.key, r.kind, r.state, r.late_bin, r.duration_bin, r.has_text"
_WITH_BODIES = f"SELECT {_COLUMNS}, {BODY} FROM records r WHERE r.seq IN"  # noqa: S608 - ours
_WITH_BODIES_OF_TEXTS = (
    f"SELECT {_COLUMNS}, "  # noqa: S608 - ours
    f"CASE WHEN r.has_text IS NOT 0 THEN {BODY} END FROM records r WHERE r.seq IN"
)


class Places:
    """Finds records, and places for those that are new."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._taken: set[int] = set()
        """Of what ``find`` was last asked for: places that others have, or that were given out since."""

    def find(self, homes: Mapping[bytes, int]) -> dict[bytes, Known]:
        """Those that the index has, by key. ``homes`` are the first places of the keys."""
        self._taken = set()
        found: dict[bytes, Known] = {}
        for known in self._rows(_WITH_BODIES, self._some_of("SELECT seq FROM records WHERE seq", list(homes.values()))):
            if known.key in homes:
                found[known.key] = known
            self._taken.add(known.seq)
        if len(found) < len(homes):
            moved = self._displaced([key for key in homes if key not in found])
            found.update((known.key, known) for known in self._rows(_WITH_BODIES, moved))
        return found

    def states(self, homes: Mapping[bytes, int]) -> dict[bytes, int]:
        """The states of those that the index has, by key."""
        found: dict[bytes, int] = {}
        sql = "SELECT key, state FROM records WHERE seq IN"
        in_place = self._some_of("SELECT seq FROM records WHERE seq", list(homes.values()))
        for seqs in (in_place, self._displaced(list(homes))):
            found.update((key, state) for key, state in self._select(sql, seqs) if key in homes)
        return found

    def at(self, seqs: Sequence[int]) -> list[Known]:
        """The records that stand there, with bodies only where they may have text."""
        return list(self._rows(_WITH_BODIES_OF_TEXTS, seqs))

    def settle(self, key: bytes, home: int) -> int:
        """A place for a record that was not found."""
        if home not in self._taken:
            self._taken.add(home)
            return home
        seq = home + 1
        while seq in self._taken or self._is_taken(seq):
            seq += 1
        self._taken.add(seq)
        self._sql.execute("INSERT INTO displaced VALUES (?, ?)", (key, seq))
        return seq

    def leave(self, gone: Sequence[Known]) -> None:
        """Forget records that were removed."""
        displaced = [(known.key,) for known in gone if first_seq(seq_ms(known.seq) * 1000, known.key) != known.seq]
        self._sql.executemany("DELETE FROM displaced WHERE key = ?", displaced)

    def _is_taken(self, seq: int) -> bool:
        return self._sql.execute("SELECT 1 FROM records WHERE seq = ?", (seq,)).fetchone() is not None

    def _displaced(self, keys: Sequence[bytes]) -> list[int]:
        some = self._some_of("SELECT key FROM displaced WHERE key", keys)
        return [seq for (seq,) in self._select("SELECT seq FROM displaced WHERE key IN", some)]

    def _some_of(self, query: str, values: Sequence[V]) -> Sequence[V]:
        """Those of the values that are there, or all where it is not worth the look.

        What comes together is of about the same time, and most of it is new: then little lies between the first and
        the last of it, and takes less to read than to look for each.
        """
        if not values:
            return values
        most = 2 * len(values)
        near = self._sql.execute(f"{query} BETWEEN ? AND ? LIMIT ?", (min(values), max(values), most + 1)).fetchall()
        return values if len(near) > most else list({value for (value,) in near}.intersection(values))

    def _rows(self, sql: str, seqs: Sequence[int]) -> Iterator[Known]:
        return (Known(*row) for row in self._select(sql, seqs))

    def _select(self, sql: str, values: Sequence[object]) -> Iterator[sqlite3.Row]:
        for some, marks in chunks(values):
            yield from self._sql.execute(f"{sql} ({marks})", some)


def chunks(values: Sequence[T]) -> Iterator[tuple[Sequence[T], str]]:
    """Some values at a time, and a question mark for each of them."""
    for start in range(0, len(values), _AT_ONCE):
        some = values[start : start + _AT_ONCE]
        yield some, ",".join("?" * len(some))
