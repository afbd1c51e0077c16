"""Snapshots: the state tables of one commit, cut into parts that travel, are staged, checked and installed at once.

No file and no fork: the sender reads a view that later commits do not change, the receiver fills a second set of tables
that the store exchanges for the first within one commit. The sender keeps the view for a while after a stream has
ended, so that the receiver can go on behind the last row that it has.
"""

import hashlib
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from raftsched.commands.versions import FIRST_VERSION, VERSIONS, Versions, cluster_version
from raftsched.consensus.directory import stored_identity
from raftsched.consensus.journal import stored_term
from raftsched.ports import STATE_TABLES, Clock, Reader, Staging, Store, Table

APPLIED_INDEX_KEY = b"applied_index"
"""Row of META: the last entry whose effect is in the state tables (8 bytes, big-endian)."""
_KEEP_VIEW_S = 30.0
_MAX_IDLE_VIEWS = 4
_INDEX = struct.Struct(">Q")
_LENGTHS = struct.Struct(">II")


class SnapshotDamaged(Exception):
    """What arrived is not what was sent; nothing of it was installed. It may be fetched again."""


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """Comes first."""

    snapshot_id: str
    index: int
    """The last entry whose effect is included."""
    term: int
    rows: int
    """Rows of all tables together."""
    cluster_identity: str = ""
    """Whose state it is; "": of a cluster from before there were identities."""
    cluster_version: int = FIRST_VERSION
    """Of that state."""


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    """Some rows of one table, in ascending key order."""

    table: Table
    rows: list[tuple[bytes, bytes]]
    digest: bytes
    """SHA-256 over the table's name and the rows."""


@dataclass(frozen=True, slots=True)
class SnapshotPosition:
    """The last row of a snapshot that has arrived."""

    snapshot_id: str
    table: Table
    key: bytes


SnapshotPart = SnapshotHeader | SnapshotRows


def applied_index(reader: Reader) -> int:
    """The last applied entry; 1, the entry that opens every log, before any was applied."""
    value = reader.get(Table.META, APPLIED_INDEX_KEY)
    return 1 if value is None else int(_INDEX.unpack(value)[0])


def encode_index(index: int) -> bytes:
    """The value of ``APPLIED_INDEX_KEY``."""
    return _INDEX.pack(index)


def digest_of(table: Table, rows: list[tuple[bytes, bytes]]) -> bytes:
    """What ``SnapshotRows.digest`` must be."""
    pieces = [table.value.encode()]
    for key, value in rows:
        pieces += (_LENGTHS.pack(len(key), len(value)), key, value)
    return hashlib.sha256(b"".join(pieces)).digest()


@dataclass(slots=True)
class _View:
    header: SnapshotHeader
    reader: Reader
    release: ExitStack
    idle_since: float


class SnapshotSender:
    """Gives out the parts of snapshots of what was last committed."""

    def __init__(self, store: Store, clock: Clock, chunk_bytes: int) -> None:
        """Rows come in pieces of about ``chunk_bytes``."""
        self._store = store
        self._clock = clock
        self._chunk_bytes = chunk_bytes
        self._idle: dict[str, _View] = {}

    @contextmanager
    def parts(self, position: SnapshotPosition | None = None) -> Iterator[Iterator[SnapshotPart]]:
        """Those behind the position, if that snapshot is still there; otherwise a new one from its beginning."""
        view = self._idle.pop(position.snapshot_id, None) if position else None
        if view is None:
            view, position = self._open(), None

        def read(view: _View) -> Iterator[SnapshotPart]:
            yield view.header
            yield from _read_rows(view.reader, position, self._chunk_bytes)

        try:
            yield read(view)
        finally:
            # Also one that was read to its end: the last parts may not have arrived.
            view.idle_since = self._clock.monotonic()
            self._idle[view.header.snapshot_id] = view
            self._release(keep=_MAX_IDLE_VIEWS)

    def forget_old(self) -> None:
        """Release the views that nobody came back for: they keep the store from reusing space."""
        oldest = self._clock.monotonic() - _KEEP_VIEW_S
        while self._idle and next(iter(self._idle.values())).idle_since < oldest:
            self._release(keep=len(self._idle) - 1)

    def close(self) -> None:
        """Release all."""
        self._release(keep=0)

    def _release(self, *, keep: int) -> None:
        while len(self._idle) > keep:
            self._idle.pop(next(iter(self._idle))).release.close()

    def _open(self) -> _View:
        release = ExitStack()
        reader = release.enter_context(self._store.read())
        index = applied_index(reader)
        rows = sum(reader.count(table) for table in STATE_TABLES)
        header = SnapshotHeader(
            self._clock.token(),
            index,
            stored_term(reader, index),
            rows,
            stored_identity(reader),
            cluster_version(reader),
        )
        return _View(header, reader, release, 0.0)


class SnapshotReceiver:
    """Stages the parts of a snapshot, over as many streams as it takes, and installs it when it is complete."""

    def __init__(self, store: Store, versions: Versions = VERSIONS) -> None:
        """An earlier receiver's parts are dropped with the first header."""
        self._store = store
        self._versions = versions
        self._staging: Staging | None = None
        self._header: SnapshotHeader | None = None
        self._rows = 0
        self.position: SnapshotPosition | None = None
        """Where to go on after a stream broke off."""

    @property
    def header(self) -> SnapshotHeader:
        """Raises SnapshotDamaged: there was none yet."""
        if self._header is None:
            raise SnapshotDamaged("a snapshot began without its header")
        return self._header

    @property
    def complete(self) -> bool:
        """Whether all rows have arrived."""
        return self._header is not None and self._rows == self._header.rows

    def add(self, part: SnapshotPart) -> None:
        """Take the next part. The header of another snapshot begins anew.

        Raises SnapshotDamaged: rows are altered, repeated, out of order or too many. NodeOutdated: it is of a newer
        cluster version than this node knows.
        """
        if isinstance(part, SnapshotRows):
            self._add_rows(part)
        elif self._header != part:
            self._versions.check("the snapshot of a peer", part.cluster_version)
            self._staging = self._store.stage()
            self._header, self._rows, self.position = part, 0, None

    def install(self) -> None:
        """Make it the state, durable with the next commit."""
        assert self.complete
        assert self._staging is not None
        self._staging.install()

    def discard(self) -> None:
        """Drop what was staged."""
        if self._staging is not None:
            self._staging.discard()

    def _add_rows(self, part: SnapshotRows) -> None:
        header = self.header
        assert self._staging is not None
        if not part.rows or part.digest != digest_of(part.table, part.rows):
            raise SnapshotDamaged("a part of a snapshot is not what was sent: its checksum differs")
        try:
            self._staging.put_many(part.table, part.rows)
        except ValueError as error:
            raise SnapshotDamaged(f"a snapshot has a row that is out of place: {error}") from error
        self._rows += len(part.rows)
        if self._rows > header.rows:
            raise SnapshotDamaged(f"a snapshot has more than the {header.rows} rows that it announced")
        self.position = SnapshotPosition(header.snapshot_id, part.table, part.rows[-1][0])


def _read_rows(reader: Reader, position: SnapshotPosition | None, chunk_bytes: int) -> Iterator[SnapshotRows]:
    tables = STATE_TABLES if position is None else STATE_TABLES[STATE_TABLES.index(position.table) :]
    for table in tables:
        # No key lies between a key and the same key with a zero byte behind it.
        start = position.key + b"\0" if position and table is position.table else b""
        rows: list[tuple[bytes, bytes]] = []
        size_bytes = 0
        for row in reader.scan(table, start):
            rows.append(row)
            size_bytes += len(row[0]) + len(row[1])
            if size_bytes >= chunk_bytes:
                yield SnapshotRows(table, rows, digest_of(table, rows))
                rows, size_bytes = [], 0
        if rows:
            yield SnapshotRows(table, rows, digest_of(table, rows))
