"""Snapshots: the state tables of one commit, cut into parts that travel, are staged, checked and installed at once.

No file and no fork: the sender reads a view that later commits do not change, the receiver fills a second set of tables
that the store exchanges for the first within one commit.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from raftsched.consensus.journal import stored_term
from raftsched.ports import STATE_TABLES, Reader, Store, Table

APPLIED_INDEX_KEY = b"applied_index"
"""Row of META: the last entry whose effect is in the state tables (8 bytes, big-endian)."""
_INDEX = struct.Struct(">Q")
_LENGTHS = struct.Struct(">II")


class SnapshotDamaged(Exception):
    """What arrived is not what was sent; nothing of it was installed. It may be fetched again."""


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """Comes first: the last entry whose effect is included."""

    index: int
    term: int


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    """Some rows of one table, in ascending key order."""

    table: Table
    rows: list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class SnapshotTrailer:
    """Comes last."""

    rows: int
    digest: bytes
    """SHA-256 over all rows."""


SnapshotPart = SnapshotHeader | SnapshotRows | SnapshotTrailer


def applied_index(reader: Reader) -> int:
    """The last applied entry; 1, the entry that opens every log, before any was applied."""
    value = reader.get(Table.META, APPLIED_INDEX_KEY)
    return 1 if value is None else int(_INDEX.unpack(value)[0])


def encode_index(index: int) -> bytes:
    """The value of ``APPLIED_INDEX_KEY``."""
    return _INDEX.pack(index)


def read_snapshot(view: Reader, chunk_bytes: int) -> Iterator[SnapshotPart]:
    """The parts of a view of the store; rows come in pieces of about ``chunk_bytes``."""
    digest = _Digest()
    index = applied_index(view)
    yield SnapshotHeader(index, stored_term(view, index))
    for table in STATE_TABLES:
        rows: list[tuple[bytes, bytes]] = []
        size_bytes = 0
        for row in view.scan(table):
            rows.append(row)
            size_bytes += len(row[0]) + len(row[1])
            if size_bytes >= chunk_bytes:
                digest.add(table, rows)
                yield SnapshotRows(table, rows)
                rows, size_bytes = [], 0
        if rows:
            digest.add(table, rows)
            yield SnapshotRows(table, rows)
    yield digest.trailer()


class SnapshotReceiver:
    """Stages the parts of one snapshot, and installs it when it is complete."""

    def __init__(self, store: Store) -> None:
        """An earlier receiver's parts are dropped."""
        self._staging = store.stage()
        self._header: SnapshotHeader | None = None
        self._digest = _Digest()
        self.complete = False

    @property
    def header(self) -> SnapshotHeader:
        """Raises SnapshotDamaged: there was none yet."""
        if self._header is None:
            raise SnapshotDamaged("a snapshot began without its header")
        return self._header

    def add(self, part: SnapshotPart) -> None:
        """Take the next part.

        Raises SnapshotDamaged: parts or rows are missing, repeated, out of order or altered.
        """
        if self.complete or (self._header is None) != isinstance(part, SnapshotHeader):
            raise SnapshotDamaged("the parts of a snapshot came out of order")
        if isinstance(part, SnapshotHeader):
            self._header = part
        elif isinstance(part, SnapshotRows):
            self._add_rows(part)
        elif part != self._digest.trailer():
            raise SnapshotDamaged("a snapshot is not what was sent: its checksum or row count differs")
        else:
            self.complete = True

    def install(self) -> None:
        """Make it the state, durable with the next commit."""
        assert self.complete
        self._staging.install()

    def discard(self) -> None:
        """Drop what was staged."""
        self._staging.discard()

    def _add_rows(self, part: SnapshotRows) -> None:
        try:
            self._staging.put_many(part.table, part.rows)
        except ValueError as error:
            raise SnapshotDamaged(f"a snapshot has a row that is out of place: {error}") from error
        self._digest.add(part.table, part.rows)


class _Digest:
    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._rows = 0

    def add(self, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
        name = table.value.encode()
        pieces: list[bytes] = []
        for key, value in rows:
            pieces += (name, _LENGTHS.pack(len(key), len(value)), key, value)
        self._sha256.update(b"".join(pieces))
        self._rows += len(rows)

    def trailer(self) -> SnapshotTrailer:
        return SnapshotTrailer(self._rows, self._sha256.digest())
