"""What the LMDB store keeps over restarts, and what it does when the disk refuses."""

import contextlib
import shutil
from pathlib import Path

import lmdb
import pytest

from raftsched.ports import STATE_TABLES, StoreFailed, StoreRefused, Table
from raftsched.store import lmdb_store
from raftsched.store.lmdb_store import LmdbStore


def rows(path: Path, table: Table) -> list[tuple[bytes, bytes]]:
    with contextlib.closing(LmdbStore(path)) as store:
        return list(store.batch().scan(table))


def entries_on_disk(path: Path) -> dict[str, int]:
    """Rows of each named database, read from a copy of the file."""
    copy = shutil.copy(path / "data.mdb", path.with_name(f"{path.name}.copy"))
    with lmdb.open(str(copy), subdir=False, max_dbs=64, readonly=True, lock=False) as env, env.begin() as txn:
        names = [bytes(name) for name, _ in txn.cursor()]
        return {name.decode(): txn.stat(env.open_db(name, txn, create=False))["entries"] for name in names}


def write_many(store: LmdbStore, table: Table, count: int, value: bytes = b"") -> None:
    for number in range(count):
        store.batch().put(table, b"%08d" % number, value)
    store.commit()


def test_committed_rows_are_there_after_a_restart_and_others_are_not(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.batch().put(Table.TASKS, b"a", b"1")
    store.commit()
    store.batch().put(Table.TASKS, b"b", b"2")
    store.close()
    assert rows(tmp_path, Table.TASKS) == [(b"a", b"1")]


def test_installed_snapshot_is_there_after_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        store = LmdbStore(tmp_path)
        staging = store.stage()
        staging.put_many(Table.TASKS, [(b"snapshot", b"%d" % number)])
        staging.install()
        store.commit()
        store.close()
        assert rows(tmp_path, Table.TASKS) == [(b"snapshot", b"%d" % number)]


@pytest.mark.parametrize("install", [True, False])
def test_snapshot_that_was_not_committed_is_dropped_at_the_next_open(tmp_path: Path, install: bool) -> None:
    store = LmdbStore(tmp_path)
    store.batch().put(Table.TASKS, b"old", b"")
    store.commit()
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"new", b"")])
    if install:
        staging.install()
    store.close()
    assert rows(tmp_path, Table.TASKS) == [(b"old", b"")]
    assert entries_on_disk(tmp_path)["tasks.1"] == 0


def test_old_tables_are_emptied_in_small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_store, "_SWEEP_PAGES", 2)
    monkeypatch.setattr(lmdb_store, "_SWEEP_ROWS", 100)
    store = LmdbStore(tmp_path)
    write_many(store, Table.TASKS, 1000, b"v" * 50)
    write_many(store, Table.DUE, 10)
    store.stage().install()
    store.commit()
    left = []
    while (sizes := entries_on_disk(tmp_path))["tasks.0"] or sizes["due.0"]:
        left.append(sizes["tasks.0"])
        store.batch().put(Table.LOG, b"%d" % len(left), b"")
        assert store.commit()
    assert left[:3] == [1000, 900, 800]
    assert len(left) <= 12
    assert [store.batch().count(table) for table in STATE_TABLES] == [0] * len(STATE_TABLES)
    store.close()


def test_discarded_snapshot_gives_its_space_back(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    sizes = []
    for number in range(6):
        staging = store.stage()
        for first in range(0, 2000, 500):
            staging.put_many(Table.TASKS, [(b"%08d" % (first + row), b"v" * 1000) for row in range(500)])
        staging.discard()
        for _ in range(3):
            store.batch().put(Table.META, b"round", b"%d" % number)
            store.commit()
        sizes.append(store.size_bytes())
    assert sizes[-1] < 2 * sizes[0]
    store.close()


def test_full_store_fails_and_keeps_the_last_commit(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, max_size_bytes=1 << 20)
    store.batch().put(Table.TASKS, b"kept", b"")
    store.commit()
    with pytest.raises(StoreFailed, match=r"raise its size limit \(1048576 bytes\)") as caught:
        write_many(store, Table.LOG, 10_000, b"v" * 1000)
    assert str(tmp_path) in str(caught.value)
    for use in (store.commit, store.batch, store.stage):
        with pytest.raises(StoreFailed, match="raise its size limit"):
            use()
    with store.read() as view:
        assert view.get(Table.TASKS, b"kept") == b""
    store.close()
    assert rows(tmp_path, Table.TASKS) == [(b"kept", b"")]
    assert rows(tmp_path, Table.LOG) == []


def test_snapshot_that_does_not_fit_fails_and_keeps_the_state(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, max_size_bytes=1 << 20)
    store.batch().put(Table.TASKS, b"kept", b"")
    store.commit()
    staging = store.stage()
    with pytest.raises(StoreFailed, match="cannot write a snapshot"):
        staging.put_many(Table.TASKS, [(b"%08d" % row, b"v" * 1000) for row in range(2000)])
    store.close()
    assert rows(tmp_path, Table.TASKS) == [(b"kept", b"")]


def test_more_views_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    with contextlib.ExitStack() as stack:
        for _ in range(512):
            stack.enter_context(store.read())
        with pytest.raises(RuntimeError, match="512 views are open"):
            stack.enter_context(store.read())
    with store.read() as view:
        assert view.count(Table.TASKS) == 0
    store.close()


def test_file_that_ends_before_unused_pages_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LmdbStore, "_grow_file", lambda self: None)
        store = LmdbStore(tmp_path)
        for number in range(200):
            write_many(store, Table.TASKS, 200, b"v" * 500)
            for key, _ in list(store.batch().scan(Table.TASKS))[20:]:
                store.batch().put(Table.LOG, key + b"%d" % number, b"v" * 5000)
                store.batch().delete(Table.LOG, key + b"%d" % number)
                store.batch().delete(Table.TASKS, key)
            store.commit()
            if (tmp_path / "data.mdb").stat().st_size < store.size_bytes():
                break
        assert (tmp_path / "data.mdb").stat().st_size < store.size_bytes()
        store.close()
    assert len(rows(tmp_path, Table.TASKS)) == 20
    store = LmdbStore(tmp_path)
    assert (tmp_path / "data.mdb").stat().st_size >= store.size_bytes()
    store.close()


def test_large_file_that_was_cut_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_store, "_FULL_CHECK_BYTES", 0)
    store = LmdbStore(tmp_path)
    write_many(store, Table.TASKS, 5000, b"v" * 500)
    store.close()
    data = tmp_path / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole[: 2 << 20])
    with pytest.raises(StoreRefused, match="corrupt"):
        LmdbStore(tmp_path)
    data.write_bytes(whole)
    assert len(rows(tmp_path, Table.TASKS)) == 5000
