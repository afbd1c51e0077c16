"""The store on LMDB: one environment, one named database for each table, one write transaction for each commit.

The state tables exist twice. A row in a database of our own says which generation is live; the other one takes the rows
of a snapshot, and is emptied in small steps when they are of no more use.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb
import structlog
from lmdb import verify

from raftsched.ports import STATE_TABLES, StoreFailed, StoreRefused, Table
from raftsched.store import formats
from raftsched.store.checksums import OWN_SEED, SEEDS, SIZE_BYTES, intact, sealed
from raftsched.store.directory import ADVICE_TO_REPLACE, StoreDirectory
from raftsched.store.lmdb_batch import Cursor, Database, LmdbBatch, LmdbReader, Transaction
from raftsched.store.place import place_of

DEFAULT_MAX_SIZE_BYTES = 64 << 30
ENGINE = 0
"""The engine of the 0.9 file format, which LMDB 1.x cannot read."""
_MAX_READERS = 512
_QUICK_CHECK_BYTES = 64 << 20
"""The structure of a larger file is checked only after a run that did not end cleanly, and not even then when the
process was just killed: LMDB's commits are whole in the page cache, which outlives it."""
_GROW_STEP_BYTES = 1 << 20
_SWEEP_PAGES = 50_000
"""A table of at most so many pages is emptied in one step, of about 10 ms."""
_SWEEP_ROWS = 5_000

OWN = b"store"
"""The database that says which generation of the state tables is live."""
_LIVE = b"live"
_FORMAT = b"format"
_DAMAGE = (
    lmdb.NotFoundError,
    lmdb.InvalidError,
    lmdb.InvalidParameterError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    verify.VerifyError,
)
_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class _Staging:
    """Fills the generation that is not live."""

    def __init__(self, store: "LmdbStore") -> None:
        self._store = store

    def put_many(self, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
        """See ports.Staging. Raises ValueError for a table that is no state table and rows out of order."""
        if table not in STATE_TABLES:
            raise ValueError(f"{table.name} is not part of a snapshot")
        self._store._stage_rows(self, table, rows)

    def install(self) -> None:
        """See ports.Staging."""
        self._store._install(self)

    def discard(self) -> None:
        """See ports.Staging."""
        self._store._discard(self)


class LmdbStore:
    """Durable tables in a directory that no other process may use meanwhile.

    The batch belongs to one thread; read views may be taken in any, up to 512 at a time. A view that is held for long
    keeps the pages that it sees from being reused, and the file grows.

    LMDB ties the lock of a write transaction to the thread that began it, so all of them begin and end in a thread of
    the store's own. That thread can commit while the owner of the batch does something else, and begins the next
    transaction behind the commit: whoever writes next need not wait for another thread to wake up.
    """

    def __init__(self, path: Path, *, max_size_bytes: int = DEFAULT_MAX_SIZE_BYTES) -> None:
        """Open the store, or make it where there is an empty directory or none.

        Raises StoreRefused: the directory is in use, corrupt, or holds files of others. NodeOutdated: it has a newer
        format. An older one is brought up to date.
        """
        self._max_size_bytes = max_size_bytes
        self._batch: LmdbBatch | None = None
        self._next: Future[Transaction] | None = None
        """The transaction of the next batch, begun ahead."""
        self._staging: _Staging | None = None
        self._failure = ""
        self._sweeping = True
        self._directory = StoreDirectory(path)
        self._writer = ThreadPoolExecutor(1, "store")
        self._writer_id = self._writer.submit(threading.get_ident).result()
        try:
            self._open()
        except BaseException:
            self._writer.shutdown()
            self._directory.close()
            raise

    def batch(self) -> LmdbBatch:
        """See ports.Store."""
        if self._batch is None:
            self.refuse_after_failure()
            with self._failing("begin a write"):
                begun, self._next = self._next, None
                txn = self._in_writer(self._begin) if begun is None else begun.result()
                self._batch = LmdbBatch(txn, self._generations[self._live], self._explained)
        return self._batch

    def commit(self) -> bool:
        """See ports.Store."""
        return self.commit_soon().result()

    def commit_soon(self) -> "Future[bool]":
        """See ports.Store."""
        self.refuse_after_failure()
        batch = self._batch
        if batch is not None and batch.dirty:
            self._batch = None
            committed = self._writer.submit(self._commit, batch)
            self._next = self._writer.submit(self._begin)
            return committed
        self.rollback()
        nothing: Future[bool] = Future()
        nothing.set_result(False)
        return nothing

    def _begin(self) -> Transaction:
        return self._env.begin(write=True)

    def _drop_next(self) -> None:
        """Give the lock of the writer back."""
        begun, self._next = self._next, None
        if begun is not None and not begun.exception():
            self._in_writer(begun.result().abort)

    def _commit(self, batch: LmdbBatch) -> bool:
        with self._failing("commit", batch):
            swept = self._sweeping and not self._sweep(batch.txn)
            batch.txn.commit()
        self._sweeping = self._sweeping and not swept
        if batch.installed:
            self._live ^= 1
            self._staging = None
            self._sweeping = True
        self._grow_file()
        return True

    def rollback(self) -> None:
        """See ports.Store."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._abort(batch)

    def _abort(self, batch: LmdbBatch) -> None:
        self._in_writer(batch.txn.abort)
        if batch.staged:
            self._staging = None
            self._sweeping = True

    def _in_writer(self, call: Callable[[], _T]) -> _T:
        if threading.get_ident() == self._writer_id:
            return call()
        return self._writer.submit(call).result()

    @contextmanager
    def read(self) -> Iterator[LmdbReader]:
        """See ports.Store. Raises RuntimeError when 512 views are open."""
        try:
            txn = self._env.begin()
        except lmdb.ReadersFullError as error:
            raise RuntimeError(f"{_MAX_READERS} views are open; close some") from error
        try:
            yield LmdbReader(txn, self._generations[self._live_in(txn)], self._explained)
        finally:
            txn.abort()

    def stage(self) -> _Staging:
        """See ports.Store."""
        self.refuse_after_failure()
        if self._batch is not None and self._batch.installed:
            raise RuntimeError("a staging is installed but not committed; commit before the next one")
        with self._failing("empty the staging tables"):
            self._write_staging(self._sweep_all)
        self._sweeping = False
        self._staging = _Staging(self)
        return self._staging

    def size_bytes(self) -> int:
        """See ports.Store."""
        return (self._env.info()["last_pgno"] + 1) * self._page_bytes

    def place(self) -> str:
        """Where the directory is: see place.py."""
        return place_of(self._directory.data)

    def close(self) -> None:
        """See ports.Store."""
        self.rollback()
        self._drop_next()
        self._writer.shutdown()
        self._env.close()
        self._directory.close(clean=not self._failure)

    def refuse_after_failure(self) -> None:
        """See ports.Store."""
        if self._failure:
            self.rollback()
            raise StoreFailed(self._failure)

    def _open(self) -> None:
        directory = self._directory
        with _refusing(directory.path):
            if not directory.data.exists():
                self._create()
            size = directory.data.stat().st_size
            checked = size <= _QUICK_CHECK_BYTES or not (directory.ended_cleanly or directory.was_only_killed)
            if checked:
                if size > _QUICK_CHECK_BYTES:
                    _log.info("the last run did not end cleanly: checking the data", size_mib=size >> 20)
                _check_structure(directory.data)
            self._env = self._open_environment(directory.data)
            try:
                self._page_bytes = self._env.stat()["psize"]
                if size < self.size_bytes() and not checked:
                    _check_structure(directory.data)
                    checked = True
                if directory.complete and directory.format != formats.FORMAT_VERSION:
                    # Before the data: an older version shall not take them for its own half-way.
                    directory.mark_complete()
                self._open_tables()
            except BaseException:
                self._env.close()
                raise
            if not directory.complete:
                directory.mark_complete()
            if checked or directory.ended_cleanly:
                # Not after a run that was only killed: a second one in a row may be LMDB crashing on what it read.
                directory.vouch()

    def _create(self) -> None:
        self._directory.remove_new_data()
        with self._open_environment(self._directory.new_data) as env, env.begin(write=True) as txn:
            own = env.open_db(OWN, txn)
            txn.put(_LIVE, sealed(OWN_SEED, _LIVE, b"0"), db=own)
            _put_format(txn, own)
        self._directory.adopt_new_data()

    def _open_environment(self, path: Path) -> lmdb.Environment:
        return lmdb.open(
            str(path),
            map_size=self._max_size_bytes,
            subdir=False,
            mode=0o600,
            max_readers=_MAX_READERS,
            max_dbs=1 + 2 * len(Table),
            lib_version=ENGINE,
        )

    def _open_tables(self) -> None:
        env = self._env
        env.reader_check()
        with env.begin(write=True) as txn:
            self._own = env.open_db(OWN, txn, create=False)
            self._live = live_generation(txn, self._own)
            self._generations = tuple(
                {table: env.open_db(database_name(table, generation), txn) for table in Table} for generation in (0, 1)
            )
            for dbs in self._generations:
                _check_ends(LmdbReader(txn, dbs, lambda error: error))
            self._migrate(txn)
        self._file_bytes = 0
        self._grow_file()
        while self._sweeping:
            with env.begin(write=True) as txn:
                self._sweeping = self._sweep(txn)

    def _migrate(self, txn: Transaction) -> None:
        """Bring an older format up to date, in one transaction."""
        number = _stored_format(txn, self._own)
        formats.check_format(self._directory.path, number)
        if number < formats.FORMAT_VERSION:
            _log.info("bringing the data directory up to date", format=number, to=formats.FORMAT_VERSION)
            formats.migrate(number, LmdbBatch(txn, self._generations[self._live], self._explained))
            _put_format(txn, self._own)

    def _sweep(self, txn: Transaction) -> bool:
        """Empty a table that is not live, or make it smaller; whether there was one with rows."""
        for table in STATE_TABLES:
            db = self._generations[1 - self._live][table]
            stat = txn.stat(db)
            if not stat["entries"]:
                continue
            if stat["leaf_pages"] + stat["overflow_pages"] <= _SWEEP_PAGES:
                txn.drop(db, delete=False)
            else:
                _delete_rows(txn.cursor(db), _SWEEP_ROWS)
            return True
        return False

    def _sweep_all(self, txn: Transaction) -> None:
        for db in (self._generations[1 - self._live][table] for table in STATE_TABLES):
            if txn.stat(db)["entries"]:
                txn.drop(db, delete=False)

    def _stage_rows(self, staging: _Staging, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
        self.refuse_after_failure()
        self._check_current(staging)
        db, seed = self._generations[1 - self._live][table], SEEDS[table]

        def append(txn: Transaction) -> None:
            items = [(key, sealed(seed, key, value)) for key, value in rows]
            try:
                counts = txn.cursor(db).putmulti(items, overwrite=False, append=True)
            except lmdb.BadValsizeError as error:
                raise self._explained(error) from error
            if counts != (len(rows), len(rows)):
                raise ValueError(f"the rows of {table.name} do not come in ascending key order")

        with self._failing("write a snapshot"):
            self._write_staging(append)

    def _write_staging(self, write: Callable[[Transaction], None]) -> None:
        """LMDB has one writer, so what is staged while a batch is open travels with it."""
        if self._batch is not None:
            self._batch.dirty = self._batch.staged = True
            write(self._batch.txn)
            return

        def write_alone() -> None:
            with self._env.begin(write=True) as txn:
                write(txn)
            self._grow_file()

        self._drop_next()
        self._in_writer(write_alone)

    def _install(self, staging: _Staging) -> None:
        self._check_current(staging)
        batch = self.batch()
        with self._failing("install a snapshot"):
            batch.txn.put(_LIVE, sealed(OWN_SEED, _LIVE, b"%d" % (1 - self._live)), db=self._own)
        batch.install(self._generations[1 - self._live])

    def _discard(self, staging: _Staging) -> None:
        if staging is self._staging:
            if self._batch is not None and self._batch.installed:
                raise RuntimeError("the staging is installed; roll the batch back to be rid of it")
            self._staging = None
            self._sweeping = True

    def _check_current(self, staging: _Staging) -> None:
        if staging is not self._staging or (self._batch is not None and self._batch.installed):
            raise RuntimeError("the staging is over: installed, discarded, replaced by a later one, or rolled back")

    def _grow_file(self) -> None:
        """Let the file reach to the last page that LMDB counts.

        LMDB leaves the end of the file unwritten when pages there were allocated and freed in one transaction. When the
        file is as long as its pages, a shorter one at the next open was cut off, or grew in the commit before a crash.
        """
        if self.size_bytes() > self._file_bytes:
            data = self._directory.data
            steps = -(-self.size_bytes() // _GROW_STEP_BYTES)
            self._file_bytes = max(steps * _GROW_STEP_BYTES, data.stat().st_size)
            # The commit is durable without it, and the check at the next open only takes longer.
            with contextlib.suppress(OSError):
                os.truncate(data, self._file_bytes)

    @contextmanager
    def _failing(self, attempt: str, batch: LmdbBatch | None = None) -> Iterator[None]:
        """Turn errors of LMDB into StoreFailed, after which only a new store will do."""
        try:
            yield
        except lmdb.Error as error:
            if batch is not None:
                self._abort(batch)
            self.rollback()
            raise self._fail(attempt, error) from error

    def _explained(self, error: lmdb.Error) -> Exception:
        """What a get, scan, put or delete raises for an error of LMDB."""
        if isinstance(error, lmdb.BadValsizeError):
            return ValueError("a key has 1 to 511 bytes")
        if type(error) is lmdb.Error and not error.code:
            return RuntimeError("the batch or view is over")
        return self._fail("read or write", error)

    def _fail(self, attempt: str, error: lmdb.Error) -> StoreFailed:
        """The first error is the one that explains: those that follow only say that the transaction is void."""
        self._failure = self._failure or f"cannot {attempt}: {self._advice(error)}"
        return StoreFailed(self._failure)

    def _advice(self, error: lmdb.Error) -> str:
        if isinstance(error, _DAMAGE):
            return f"{error}. The data in {self._directory.path} are damaged. {ADVICE_TO_REPLACE}"
        full = isinstance(error, lmdb.MapFullError)
        todo = f"raise its size limit ({self._max_size_bytes} bytes)" if full else "see to the disk (full, failing?)"
        return (
            f"{error}. Nothing since the last commit was written to {self._directory.path}. "
            f"Stop the node, {todo}, and start it again."
        )

    def _live_in(self, txn: Transaction) -> int:
        try:
            return live_generation(txn, self._own)
        except lmdb.Error as error:
            raise self._explained(error) from error


def _put_format(txn: Transaction, own: Database) -> None:
    txn.put(_FORMAT, sealed(OWN_SEED, _FORMAT, b"%d" % formats.FORMAT_VERSION), db=own)


def _stored_format(txn: Transaction, own: Database) -> int:
    """The format that the data have. Raises lmdb.CorruptedError."""
    stored = txn.get(_FORMAT, None, own)
    if stored is None:
        return min(formats.STEPS)
    if not intact(OWN_SEED, _FORMAT, stored):
        raise lmdb.CorruptedError("the row that says which format the data have is not what was written")
    return int(stored[:-SIZE_BYTES])


def _delete_rows(cursor: Cursor, limit: int) -> None:
    present = cursor.first()
    while present and limit:
        present = cursor.delete()
        limit -= 1


def database_name(table: Table, generation: int) -> bytes:
    """The name of the LMDB database that holds a table."""
    suffix = f".{generation}" if table in STATE_TABLES else ""
    return f"{table.value}{suffix}".encode()


def live_generation(txn: Transaction, own: Database) -> int:
    """Which generation of the state tables counts. Raises lmdb.CorruptedError."""
    stored = txn.get(_LIVE, None, own) or b""
    if not intact(OWN_SEED, _LIVE, stored):
        raise lmdb.CorruptedError("the row that says which tables are live is not what was written")
    return int(stored[:-SIZE_BYTES])


def _check_structure(data: Path) -> None:
    """Walk all pages without LMDB, which crashes on pages that are cut off."""
    problems = verify.verify(str(data), subdir=False)  # type: ignore[no-untyped-call]  # the function has no types
    if problems:
        raise lmdb.CorruptedError(f"{problems[0]} ({len(problems)} findings)")


def _check_ends(reader: LmdbReader) -> None:
    """Reach the first and the last leaf of each table."""
    for table in Table:
        for reverse in (False, True):
            next(reader.scan(table, reverse=reverse), None)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise StoreRefused(
            f"the database in {path} is corrupt or not that of a raftsched store ({error}); nothing was changed. "
            f"{ADVICE_TO_REPLACE}"
        ) from error
    except (lmdb.Error, OSError) as error:
        raise StoreRefused(f"cannot open the database in {path}: {error}") from error
