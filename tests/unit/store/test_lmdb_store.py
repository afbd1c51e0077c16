"""What the LMDB store keeps over restarts, and what it does when the disk refuses."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import lmdb
import pytest

from raftsched.ports import STATE_TABLES, StoreFailed, StoreRefused, Table
from raftsched.store import directory, lmdb_store
from raftsched.store.lmdb_store import LmdbStore
from raftsched.store.lmdb_store import _check_structure as check_structure


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


def test_a_directory_of_a_version_without_a_table_gets_it_and_keeps_the_others(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.batch().put(Table.EXECUTIONS, b"old", b"row")
    store.commit()
    store.close()
    with (
        lmdb.open(str(tmp_path / "data.mdb"), subdir=False, max_dbs=64, lib_version=lmdb_store.ENGINE) as env,
        env.begin(write=True) as txn,
    ):
        for generation in (0, 1):
            name = lmdb_store.database_name(Table.ATTEMPTS, generation)
            txn.drop(env.open_db(name, txn, create=False), delete=True)
    assert "attempts.0" not in entries_on_disk(tmp_path)
    store = LmdbStore(tmp_path)
    assert store.batch().count(Table.ATTEMPTS) == 0
    store.batch().put(Table.ATTEMPTS, b"new", b"row")
    store.commit()
    store.close()
    assert (rows(tmp_path, Table.EXECUTIONS), rows(tmp_path, Table.ATTEMPTS)) == (
        [(b"old", b"row")],
        [(b"new", b"row")],
    )


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
    monkeypatch.setattr(lmdb_store, "_QUICK_CHECK_BYTES", 0)
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


def overwrite(path: Path, table: str, key: bytes, value: bytes) -> None:
    """Write a row as it lies on disk."""
    with (
        lmdb.open(str(path / "data.mdb"), subdir=False, max_dbs=64, lib_version=0) as env,
        env.begin(write=True) as txn,
    ):
        txn.put(key, value, db=env.open_db(table.encode(), txn, create=False))


def stored(path: Path, table: Table, key: bytes, value: bytes) -> bytes:
    """What lies on disk for a row."""
    with contextlib.closing(LmdbStore(path)) as store:
        store.batch().put(table, key, value)
        # The start reads the first and the last row of each table.
        for each in (Table.TASKS, Table.CURSORS):
            store.batch().put(each, b"\0", b"")
            store.batch().put(each, b"\xff", b"")
        store.commit()
    suffix = "" if table is Table.LOG else ".0"
    with (
        lmdb.open(str(path / "data.mdb"), subdir=False, max_dbs=64, lib_version=0) as env,
        env.begin() as txn,
    ):
        found = txn.get(key, db=env.open_db(f"{table.value}{suffix}".encode(), txn, create=False))
        assert found is not None
        return bytes(found)


def read_row(store: LmdbStore, way: str) -> None:
    with store.read() as view:
        if way == "get":
            view.get(Table.TASKS, b"name")
        else:
            list(view.scan(Table.TASKS, reverse=way == "reverse scan"))


@pytest.mark.parametrize("value", [b"", b"value", b"v" * 9000], ids=["empty", "short", "long"])
@pytest.mark.parametrize("read", ["get", "scan", "reverse scan"])
def test_a_row_that_is_not_what_was_written_is_not_shown_and_ends_all_use_of_the_store(
    tmp_path: Path, value: bytes, read: str
) -> None:
    good = stored(tmp_path, Table.TASKS, b"name", value)
    overwrite(tmp_path, "tasks.0", b"name", good[:-1] + bytes([good[-1] ^ 4]))
    with contextlib.closing(LmdbStore(tmp_path)) as store:
        words = "row 6e616d65 of table tasks is not what was written.*wipe"
        with pytest.raises(StoreFailed, match=words):
            read_row(store, read)
        for use in (store.batch, store.commit, store.stage, store.refuse_after_failure):
            with pytest.raises(StoreFailed, match="table tasks is not what was written"):
                use()


def test_a_row_under_another_key_or_in_another_table_is_not_what_was_written(tmp_path: Path) -> None:
    good = stored(tmp_path, Table.TASKS, b"name", b"value")
    overwrite(tmp_path, "tasks.0", b"other", good)
    overwrite(tmp_path, "tasks.0", b"namev", good[1:])
    overwrite(tmp_path, "cursors.0", b"name", good)
    for table, key in ((Table.TASKS, b"other"), (Table.TASKS, b"namev"), (Table.CURSORS, b"name")):
        with contextlib.closing(LmdbStore(tmp_path)) as store, pytest.raises(StoreFailed, match="not what was written"):
            store.batch().get(table, key)


def test_which_tables_are_live_cannot_change_by_one_bit(tmp_path: Path) -> None:
    stored(tmp_path, Table.TASKS, b"name", b"value")
    with lmdb.open(str(tmp_path / "data.mdb"), subdir=False, max_dbs=64, lib_version=0) as env, env.begin() as txn:
        live = bytes(txn.get(b"live", db=env.open_db(b"store", txn, create=False)) or b"")
    overwrite(tmp_path, "store", b"live", bytes([live[0] ^ 1]) + live[1:])
    with pytest.raises(StoreRefused, match="which tables are live"):
        LmdbStore(tmp_path)


def test_the_rows_of_a_snapshot_are_sealed_too(tmp_path: Path) -> None:
    with contextlib.closing(LmdbStore(tmp_path)) as store:
        staging = store.stage()
        staging.put_many(Table.DUE, [(b"a", b""), (b"b", b"1")])
        staging.install()
        store.commit()
        assert list(store.batch().scan(Table.DUE)) == [(b"a", b""), (b"b", b"1")]
    overwrite(tmp_path, "due.1", b"a", bytes(4))
    with pytest.raises(StoreRefused, match="row 61 of table due is not what was written"):
        LmdbStore(tmp_path)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose structure was checked; all files count as large."""
    monkeypatch.setattr(lmdb_store, "_QUICK_CHECK_BYTES", 0)
    found: list[Path] = []
    monkeypatch.setattr(lmdb_store, "_check_structure", found.append)
    return found


def killed(path: Path) -> None:
    """Open the store in a process of its own that is killed meanwhile."""
    script = "import os, pathlib, signal, sys; from raftsched.store import lmdb_store; "
    script += "lmdb_store._QUICK_CHECK_BYTES = 0; store = lmdb_store.LmdbStore(pathlib.Path(sys.argv[1])); "
    script += "os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_large_file_is_not_checked_after_a_clean_end(tmp_path: Path, checked: list[Path]) -> None:
    for _ in range(3):
        LmdbStore(tmp_path).close()
    assert not checked


def test_a_large_file_is_checked_after_a_run_of_which_nothing_is_known(tmp_path: Path, checked: list[Path]) -> None:
    LmdbStore(tmp_path).close()
    (tmp_path / "LOCK").write_text("4711\n")
    LmdbStore(tmp_path).close()
    assert checked == [tmp_path / "data.mdb"]
    LmdbStore(tmp_path).close()
    assert len(checked) == 1


def test_a_large_file_is_not_checked_after_a_kill_but_after_a_second_one_in_a_row(
    tmp_path: Path, checked: list[Path]
) -> None:
    LmdbStore(tmp_path).close()
    killed(tmp_path)
    LmdbStore(tmp_path).close()
    assert not checked
    killed(tmp_path)
    killed(tmp_path)
    LmdbStore(tmp_path).close()
    assert len(checked) == 1


WRITER = """
import pathlib, random, sys
from raftsched.ports import Table
from raftsched.store import lmdb_store
lmdb_store._QUICK_CHECK_BYTES = 0
store = lmdb_store.LmdbStore(pathlib.Path(sys.argv[1]))
dice = random.Random(1)
for number in range(1_000_000):
    for part in range(20):
        store.batch().put(Table.TASKS, b"%07d/%02d" % (number, part), dice.randbytes(1_000))
    store.commit()
    print(number, flush=True)
"""


@pytest.mark.parametrize("commits", [1, 20, 60])
def test_a_file_that_is_not_checked_after_a_kill_amid_its_writes_is_sound_and_has_all_commits(
    tmp_path: Path, checked: list[Path], commits: int
) -> None:
    LmdbStore(tmp_path).close()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        told = [next(writer.stdout) for _ in range(commits)]
        writer.kill()
        told += [line for line in writer.stdout if line.endswith(b"\n")]
    assert writer.returncode == -signal.SIGKILL
    with contextlib.closing(LmdbStore(tmp_path)) as store, store.read() as reader:
        numbers = Counter(int(key.split(b"/")[0]) for key, _ in reader.scan(Table.TASKS))
    assert not checked
    assert set(numbers.values()) == {20}
    assert len(told) <= len(numbers) <= len(told) + 1
    check_structure(tmp_path / "data.mdb")


def test_a_large_file_is_checked_after_a_stop_of_the_machine(
    tmp_path: Path, checked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    LmdbStore(tmp_path).close()
    killed(tmp_path)
    other = tmp_path / "boot_id"
    other.write_text("c0ffee00-0000-4000-8000-000000000000\n")
    monkeypatch.setattr(directory, "_BOOT_ID", other)
    LmdbStore(tmp_path).close()
    assert len(checked) == 1


def test_a_large_file_is_checked_where_the_run_of_the_machine_is_not_known(
    tmp_path: Path, checked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_BOOT_ID", tmp_path / "none")
    LmdbStore(tmp_path).close()
    (tmp_path / "LOCK").write_text("4711\n\n")
    LmdbStore(tmp_path).close()
    assert len(checked) == 1


def test_a_copy_of_a_large_file_in_use_is_checked(tmp_path: Path, checked: list[Path]) -> None:
    LmdbStore(tmp_path / "used").close()
    killed(tmp_path / "used")
    shutil.copytree(tmp_path / "used", tmp_path / "copy")
    LmdbStore(tmp_path / "copy").close()
    assert len(checked) == 1


def test_a_large_file_that_took_the_place_of_another_is_checked(tmp_path: Path, checked: list[Path]) -> None:
    LmdbStore(tmp_path).close()
    killed(tmp_path)
    shutil.copy(tmp_path / "data.mdb", tmp_path / "restored.mdb")
    (tmp_path / "restored.mdb").rename(tmp_path / "data.mdb")
    LmdbStore(tmp_path).close()
    assert len(checked) == 1


def test_a_large_file_is_checked_after_a_failure(tmp_path: Path, checked: list[Path]) -> None:
    stored(tmp_path, Table.TASKS, b"name", b"value")
    overwrite(tmp_path, "tasks.0", b"name", b"other")
    with contextlib.closing(LmdbStore(tmp_path)) as store, pytest.raises(StoreFailed):
        store.batch().get(Table.TASKS, b"name")
    checked.clear()
    LmdbStore(tmp_path).close()
    assert len(checked) == 1
