"""The store in memory: the twin of the LMDB store for tests and for the simulation.

It keeps the promises of the real one: what is not committed is lost in a crash, and a view sees one commit.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from raftsched.ports import STATE_TABLES, StoreFailed, Table

_MAX_KEY_BYTES = 511
_ROW_OVERHEAD_BYTES = 16


class _Rows:
    """The rows of one table: values by key, and the keys in order."""

    __slots__ = ("keys", "values")

    def __init__(self, values: dict[bytes, bytes], keys: list[bytes]) -> None:
        self.values = values
        self.keys = keys

    def set(self, key: bytes, value: bytes | None) -> bytes | None:
        """Put, or delete when the value is None; the value before."""
        before = self.values.get(key)
        if value is not None:
            if before is None:
                insort(self.keys, key)
            self.values[key] = value
        elif before is not None:
            del self.values[key]
            del self.keys[bisect_left(self.keys, key)]
        return before

    def copy(self) -> "_Rows":
        return _Rows(self.values.copy(), self.keys.copy())


_Tables = dict[Table, _Rows]


class _MemoryReader:
    """A view of some tables, until it is over."""

    def __init__(self, tables: _Tables) -> None:
        self.tables: _Tables | None = tables

    def get(self, table: Table, key: bytes) -> bytes | None:
        """See ports.Reader."""
        if not key:
            raise _bad_key()
        return self._rows(table).values.get(key)

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See ports.Reader."""
        rows = self._rows(table)
        first = bisect_left(rows.keys, start)
        end = len(rows.keys) if stop is None else bisect_left(rows.keys, stop)
        indexes = range(end - 1, first - 1, -1) if reverse else range(first, end)
        return self._walk(table, indexes)

    def _walk(self, table: Table, indexes: range) -> Iterator[tuple[bytes, bytes]]:
        for index in indexes:
            # A view is given a copy of its own when the rows are about to change.
            rows = self._rows(table)
            key = rows.keys[index]
            yield key, rows.values[key]

    def count(self, table: Table) -> int:
        """See ports.Reader."""
        return len(self._rows(table).keys)

    def _rows(self, table: Table) -> _Rows:
        if self.tables is None:
            raise RuntimeError("the batch or view is over")
        return self.tables[table]


class _Batch(_MemoryReader):
    """Writes in place, and keeps what it takes to undo them."""

    def __init__(self, store: "MemoryStore", tables: _Tables) -> None:
        super().__init__(tables)
        self._store = store
        self.undo: list[tuple[_Rows, bytes, bytes | None]] = []
        self.dirty = False
        self.staged = False
        self.installed = False

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """See ports.Batch."""
        if not 1 <= len(key) <= _MAX_KEY_BYTES:
            raise _bad_key()
        self._set(table, key, value)

    def delete(self, table: Table, key: bytes) -> bool:
        """See ports.Batch."""
        present = self.get(table, key) is not None
        if present:
            self._set(table, key, None)
        return present

    def _set(self, table: Table, key: bytes, value: bytes | None) -> None:
        rows = self._rows(table)
        self._store._save_for_views(rows)
        self.undo.append((rows, key, rows.set(key, value)))
        self.dirty = True


class _MemoryStaging:
    """A second set of state tables."""

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self.tables = _empty(STATE_TABLES)

    def put_many(self, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
        """See ports.Staging. Raises ValueError for a table that is no state table and rows out of order."""
        if table not in STATE_TABLES:
            raise ValueError(f"{table.name} is not part of a snapshot")
        self._store._write_staging(self)
        staged = self.tables[table]
        for key, value in rows:
            if not 1 <= len(key) <= _MAX_KEY_BYTES:
                raise _bad_key()
            if staged.keys and key <= staged.keys[-1]:
                raise ValueError(f"the rows of {table.name} do not come in ascending key order")
            staged.set(key, value)

    def install(self) -> None:
        """See ports.Staging."""
        self._store._install(self)

    def discard(self) -> None:
        """See ports.Staging."""
        self._store._discard(self)


class MemoryStore:
    """Tables that survive ``crash``, not the process."""

    def __init__(self) -> None:
        """An empty store."""
        self._committed = _empty(tuple(Table))
        self._batch: _Batch | None = None
        self._staging: _MemoryStaging | None = None
        self._views: list[_MemoryReader] = []
        self._failure = ""
        self.fail_next_commit = False
        """Let the next commit that has something to write raise StoreFailed, as a disk would."""

    def batch(self) -> _Batch:
        """See ports.Store."""
        if self._batch is None:
            self.refuse_after_failure()
            self._batch = _Batch(self, self._committed)
        return self._batch

    def commit(self) -> bool:
        """See ports.Store."""
        self.refuse_after_failure()
        batch = self._batch
        if batch is None or not batch.dirty:
            self.rollback()
            return False
        if self.fail_next_commit:
            self.fail_next_commit = False
            self._failure = "the commit was made to fail"
            self.rollback()
            self.refuse_after_failure()
        assert batch.tables is not None
        self._committed = batch.tables
        if batch.installed:
            self._staging = None
        batch.tables = self._batch = None
        return True

    def commit_soon(self) -> "Future[bool]":
        """See ports.Store."""
        done: Future[bool] = Future()
        try:
            done.set_result(self.commit())
        except StoreFailed as error:
            done.set_exception(error)
        return done

    def rollback(self) -> None:
        """See ports.Store."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        for rows, key, before in reversed(batch.undo):
            rows.set(key, before)
        batch.tables = None
        if batch.staged:
            self._staging = None

    @contextmanager
    def read(self) -> Iterator[_MemoryReader]:
        """See ports.Store."""
        tables = dict(self._committed)
        if self._batch is not None and self._batch.undo:
            _take_back(tables, self._batch.undo)
        view = _MemoryReader(tables)
        self._views.append(view)
        try:
            yield view
        finally:
            view.tables = None
            self._views = [other for other in self._views if other is not view]

    def stage(self) -> _MemoryStaging:
        """See ports.Store."""
        self.refuse_after_failure()
        if self._batch is not None:
            if self._batch.installed:
                raise RuntimeError("a staging is installed but not committed; commit before the next one")
            self._batch.staged = self._batch.dirty = True
        self._staging = _MemoryStaging(self)
        return self._staging

    def size_bytes(self) -> int:
        """See ports.Store."""
        values = (rows.values for rows in self._committed.values())
        return sum(len(key) + len(value) + _ROW_OVERHEAD_BYTES for rows in values for key, value in rows.items())

    def close(self) -> None:
        """See ports.Store."""
        self.rollback()

    def refuse_after_failure(self) -> None:
        """See ports.Store."""
        if self._failure:
            raise StoreFailed(self._failure)

    def crash(self) -> None:
        """Lose all that a process loses with its life; the store is then as if opened again."""
        self.rollback()
        self._staging = None
        self._failure = ""
        for view in self._views:
            view.tables = None
        self._views = []

    def _save_for_views(self, rows: _Rows) -> None:
        """Give each view that reads rows which are about to change a copy of its own."""
        for view in self._views:
            for table, seen in (view.tables or {}).items():
                if seen is rows:
                    assert view.tables is not None
                    view.tables[table] = rows.copy()
                    break

    def _write_staging(self, staging: _MemoryStaging) -> None:
        self._check_current(staging)
        if self._batch is not None:
            self._batch.staged = self._batch.dirty = True

    def _check_current(self, staging: _MemoryStaging) -> None:
        self.refuse_after_failure()
        if staging is not self._staging or (self._batch is not None and self._batch.installed):
            raise RuntimeError("the staging is over: installed, discarded, replaced by a later one, or rolled back")

    def _install(self, staging: _MemoryStaging) -> None:
        self._check_current(staging)
        batch = self.batch()
        assert batch.tables is not None
        batch.tables = batch.tables | staging.tables
        batch.installed = batch.dirty = True

    def _discard(self, staging: _MemoryStaging) -> None:
        if staging is self._staging:
            if self._batch is not None and self._batch.installed:
                raise RuntimeError("the staging is installed; roll the batch back to be rid of it")
            self._staging = None


def _empty(tables: tuple[Table, ...]) -> _Tables:
    return {table: _Rows({}, []) for table in tables}


def _take_back(tables: _Tables, undo: list[tuple[_Rows, bytes, bytes | None]]) -> None:
    """Replace the tables that have uncommitted writes by copies without them."""
    copies: dict[int, _Rows] = {}
    for rows, key, before in reversed(undo):
        copies.setdefault(id(rows), rows.copy()).set(key, before)
    for table, rows in tables.items():
        tables[table] = copies.get(id(rows), rows)


def _bad_key() -> ValueError:
    return ValueError("a key has 1 to 511 bytes")
