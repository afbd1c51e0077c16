"""Views and batches: the tables of an LMDB store through one transaction. Every row is checked as it is read."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import lmdb

from raftsched.ports import Table
from raftsched.store.checksums import SEEDS, SIZE_BYTES, intact, sealed

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
Cursor: TypeAlias = "lmdb.Cursor[bytes]"
Database: TypeAlias = "lmdb._Database"
Databases: TypeAlias = dict[Table, Database]
Rows: TypeAlias = Iterator[tuple[bytes, bytes]]
Explained: TypeAlias = Callable[[lmdb.Error], Exception]
"""Turns an error of LMDB into what the caller gets to see."""


class LmdbReader:
    """A view of the tables through one transaction."""

    __slots__ = ("_dbs", "_explained", "_get", "_txn")

    def __init__(self, txn: Transaction, dbs: Databases, explained: Explained) -> None:
        self._txn = txn
        self._get = txn.get
        self._dbs = dbs
        self._explained = explained

    def get(self, table: Table, key: bytes) -> bytes | None:
        """See ports.Reader. Raises StoreFailed: the row is not what was written."""
        try:
            stored = self._get(key, None, self._dbs[table])
        except lmdb.Error as error:
            raise self._explained(error) from error
        if stored is None:
            return None
        if not intact(SEEDS[table], key, stored):
            raise self._damaged(table, key)
        return stored[:-SIZE_BYTES]

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False) -> Rows:
        """See ports.Reader. Raises StoreFailed, also from the iterator: a row is not what was written."""
        try:
            cursor = self._txn.cursor(self._dbs[table])
            if reverse:
                return self._checked(table, _backward(cursor, start, stop))
            if not cursor.set_range(start):
                return iter(())
            rows = cursor.iternext()
        except lmdb.Error as error:
            raise self._explained(error) from error
        return self._checked(table, rows if stop is None else _until(rows, stop))

    def count(self, table: Table) -> int:
        """See ports.Reader."""
        try:
            return self._txn.stat(self._dbs[table])["entries"]
        except lmdb.Error as error:
            raise self._explained(error) from error

    def _checked(self, table: Table, rows: Rows) -> Rows:
        seed = SEEDS[table]
        try:
            for key, stored in rows:
                if not intact(seed, key, stored):
                    raise self._damaged(table, key)
                yield key, stored[:-SIZE_BYTES]
        except lmdb.Error as error:
            raise self._explained(error) from error

    def _damaged(self, table: Table, key: bytes) -> Exception:
        return self._explained(lmdb.CorruptedError(f"row {key.hex()} of table {table.value} is not what was written"))


class LmdbBatch(LmdbReader):
    """The open write transaction."""

    __slots__ = ("_delete", "_put", "dirty", "installed", "staged", "txn")

    def __init__(self, txn: Transaction, dbs: Databases, explained: Explained) -> None:
        super().__init__(txn, dbs, explained)
        self.txn = txn
        self._put = txn.put
        self._delete = txn.delete
        self.dirty = False
        self.staged = False
        self.installed = False

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """See ports.Batch. Raises StoreFailed when the store is full."""
        self.dirty = True
        try:
            self._put(key, sealed(SEEDS[table], key, value), True, True, False, self._dbs[table])
        except lmdb.Error as error:
            raise self._explained(error) from error

    def delete(self, table: Table, key: bytes) -> bool:
        """See ports.Batch. Raises StoreFailed when the store is full."""
        try:
            deleted = self._delete(key, b"", self._dbs[table])
        except lmdb.Error as error:
            raise self._explained(error) from error
        if deleted:
            self.dirty = True
        return deleted

    def install(self, dbs: Databases) -> None:
        """Go on with other state tables."""
        self._dbs = dbs
        self.dirty = self.installed = True


def _backward(cursor: Cursor, start: bytes, stop: bytes | None) -> Rows:
    placed = cursor.prev() if stop is not None and cursor.set_range(stop) else cursor.last()
    if placed:
        for row in cursor.iterprev():
            if row[0] < start:
                return
            yield row


def _until(rows: Rows, stop: bytes) -> Rows:
    for row in rows:
        if row[0] >= stop:
            return
        yield row
