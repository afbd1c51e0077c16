"""The state tables as another process of the same node reads them, which neither waits for the writer nor stops it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from raftsched.ports import STATE_TABLES, Reader, StoreFailed
from raftsched.store.lmdb_batch import Databases, LmdbReader
from raftsched.store.lmdb_store import ENGINE, OWN, database_name, live_generation


class LmdbView:
    """Views of the store that a process has open in the same directory."""

    def __init__(self, path: Path, *, max_size_bytes: int) -> None:
        """``path`` and ``max_size_bytes`` are those of the store. Raises StoreFailed when it cannot be read."""
        try:
            self._env = lmdb.open(
                str(path / "data.mdb"),
                map_size=max_size_bytes,
                subdir=False,
                readonly=True,
                max_dbs=1 + 2 * len(STATE_TABLES),
                lib_version=ENGINE,
            )
            # Each in a transaction of its own: a handle that was made in one that is aborted is void.
            self._own = self._env.open_db(OWN, create=False)
            self._generations: tuple[Databases, ...] = tuple(
                {table: self._env.open_db(database_name(table, generation), create=False) for table in STATE_TABLES}
                for generation in (0, 1)
            )
        except lmdb.Error as error:
            raise StoreFailed(f"cannot read the store in {path}: {error}") from error

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """A view of what was last committed. Raises StoreFailed."""
        try:
            txn = self._env.begin()
        except lmdb.Error as error:
            raise _explained(error) from error
        try:
            yield LmdbReader(txn, self._generations[live_generation(txn, self._own)], _explained)
        finally:
            txn.abort()

    def close(self) -> None:
        """Release the files."""
        self._env.close()


def _explained(error: lmdb.Error) -> Exception:
    return StoreFailed(f"cannot read the store: {error}")
