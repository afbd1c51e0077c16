"""What every store promises, checked on each of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftsched.ports import STATE_TABLES, Reader, Store, Table
from raftsched.store.lmdb_store import LmdbStore
from raftsched.store.memory_store import MemoryStore


@pytest.fixture(params=["lmdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = LmdbStore(tmp_path / "store") if request.param == "lmdb" else MemoryStore()
    yield made
    made.close()


def fill(store: Store, table: Table, *keys: bytes) -> None:
    for key in keys:
        store.batch().put(table, key, b"value of " + key)
    assert store.commit()


def keys(
    reader: Reader, table: Table, start: bytes = b"", stop: bytes | None = None, reverse: bool = False
) -> list[bytes]:
    return [key for key, _ in reader.scan(table, start, stop, reverse=reverse)]


def test_batch_sees_its_own_writes(store: Store) -> None:
    batch = store.batch()
    batch.put(Table.TASKS, b"a", b"1")
    batch.put(Table.TASKS, b"a", b"2")
    assert batch.get(Table.TASKS, b"a") == b"2"
    assert list(batch.scan(Table.TASKS)) == [(b"a", b"2")]
    assert batch.count(Table.TASKS) == 1


def test_absent_key_reads_as_none(store: Store) -> None:
    assert store.batch().get(Table.TASKS, b"a") is None


def test_empty_value_is_a_row(store: Store) -> None:
    store.batch().put(Table.DUE, b"a", b"")
    assert store.batch().get(Table.DUE, b"a") == b""
    assert store.batch().count(Table.DUE) == 1


def test_delete_says_whether_the_row_was_there(store: Store) -> None:
    fill(store, Table.TASKS, b"a")
    assert store.batch().delete(Table.TASKS, b"a")
    assert not store.batch().delete(Table.TASKS, b"a")
    assert store.batch().count(Table.TASKS) == 0


def test_tables_are_apart(store: Store) -> None:
    for table in Table:
        store.batch().put(table, b"key", table.value.encode())
    store.commit()
    for table in Table:
        assert list(store.batch().scan(table)) == [(b"key", table.value.encode())]


@pytest.mark.parametrize("size", [1, 511])
def test_keys_of_all_sizes_in_bounds_are_kept(store: Store, size: int) -> None:
    store.batch().put(Table.TASKS, b"k" * size, b"v" * 100_000)
    store.commit()
    assert store.batch().get(Table.TASKS, b"k" * size) == b"v" * 100_000


@pytest.mark.parametrize("key", [b"", b"k" * 512])
def test_key_out_of_bounds_is_refused_and_harms_nothing(store: Store, key: bytes) -> None:
    store.batch().put(Table.TASKS, b"a", b"1")
    with pytest.raises(ValueError, match="1 to 511 bytes"):
        store.batch().put(Table.TASKS, key, b"")
    assert store.commit()
    assert keys(store.batch(), Table.TASKS) == [b"a"]


def test_commit_without_writes_says_so(store: Store) -> None:
    assert not store.commit()
    store.batch().get(Table.TASKS, b"a")
    store.batch().delete(Table.TASKS, b"a")
    assert not store.commit()


def test_rollback_forgets_the_batch(store: Store) -> None:
    fill(store, Table.TASKS, b"a", b"b")
    store.batch().put(Table.TASKS, b"a", b"changed")
    store.batch().delete(Table.TASKS, b"b")
    store.batch().put(Table.TASKS, b"c", b"")
    store.rollback()
    assert list(store.batch().scan(Table.TASKS)) == [(b"a", b"value of a"), (b"b", b"value of b")]
    store.rollback()
    assert not store.commit()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_batch_is_over_after_its_end(store: Store, end: str) -> None:
    batch = store.batch()
    batch.put(Table.TASKS, b"a", b"")
    getattr(store, end)()
    uses: list[Callable[[], object]] = [
        lambda: batch.get(Table.TASKS, b"a"),
        lambda: batch.put(Table.TASKS, b"b", b""),
        lambda: batch.delete(Table.TASKS, b"a"),
        lambda: batch.count(Table.TASKS),
        lambda: list(batch.scan(Table.TASKS)),
    ]
    for use in uses:
        with pytest.raises(RuntimeError):
            use()


def test_scan_gives_rows_from_start_until_before_stop(store: Store) -> None:
    fill(store, Table.DUE, b"b", b"a", b"d", b"c\x00", b"c")
    batch = store.batch()
    assert keys(batch, Table.DUE) == [b"a", b"b", b"c", b"c\x00", b"d"]
    assert keys(batch, Table.DUE, b"b", b"d") == [b"b", b"c", b"c\x00"]
    assert keys(batch, Table.DUE, b"bb") == [b"c", b"c\x00", b"d"]
    assert keys(batch, Table.DUE, stop=b"bb") == [b"a", b"b"]
    assert keys(batch, Table.DUE, b"e") == []
    assert keys(batch, Table.DUE, b"c", b"c") == []
    assert keys(batch, Table.DUE, b"d", b"b") == []
    assert keys(batch, Table.LOG) == []


def test_reverse_scan_gives_the_same_rows_backwards(store: Store) -> None:
    names = [b"a", b"b", b"c", b"c\x00", b"d"]
    fill(store, Table.DUE, *names)
    batch = store.batch()
    for start in (b"", b"a", b"bb", b"d", b"e"):
        for stop in (None, b"", b"a", b"b", b"c\x00", b"d", b"e"):
            forward = keys(batch, Table.DUE, start, stop)
            assert keys(batch, Table.DUE, start, stop, reverse=True) == forward[::-1]
    assert keys(batch, Table.LOG, reverse=True) == []
    assert keys(batch, Table.LOG, stop=b"a", reverse=True) == []


def test_scan_streams(store: Store) -> None:
    fill(store, Table.DUE, *(b"%04d" % number for number in range(1000)))
    rows = store.batch().scan(Table.DUE, b"0500")
    assert next(rows) == (b"0500", b"value of 0500")
    assert next(rows)[0] == b"0501"


def test_commits_that_go_on_elsewhere_follow_one_another(store: Store) -> None:
    for number in range(20):
        store.batch().put(Table.TASKS, b"%d" % number, b"")
        committing = store.commit_soon()
        with store.read() as view:
            assert view.count(Table.TASKS) in (number, number + 1)
        assert committing.result(timeout=10)
        with store.read() as view:
            assert view.count(Table.TASKS) == number + 1
    assert not store.commit_soon().result(timeout=10)


def test_view_shows_the_last_commit_only(store: Store) -> None:
    fill(store, Table.TASKS, b"a")
    store.batch().put(Table.TASKS, b"b", b"")
    store.batch().delete(Table.TASKS, b"a")
    with store.read() as view:
        assert keys(view, Table.TASKS) == [b"a"]
        assert view.count(Table.TASKS) == 1
        assert view.get(Table.TASKS, b"b") is None


def test_view_is_unchanged_by_later_commits(store: Store) -> None:
    fill(store, Table.TASKS, b"a", b"b")
    with store.read() as old:
        fill(store, Table.TASKS, b"a", b"c")
        store.batch().delete(Table.TASKS, b"b")
        with store.read() as new:
            store.commit()
            fill(store, Table.TASKS, b"d")
            assert keys(old, Table.TASKS) == [b"a", b"b"]
            assert keys(new, Table.TASKS) == [b"a", b"b", b"c"]
        assert old.count(Table.TASKS) == 2
        assert old.get(Table.TASKS, b"c") is None
    assert keys(store.batch(), Table.TASKS) == [b"a", b"c", b"d"]


def test_scan_of_a_view_goes_on_as_it_began_whatever_is_committed_meanwhile(store: Store) -> None:
    fill(store, Table.TASKS, b"a", b"b", b"c")
    with store.read() as view:
        scan = view.scan(Table.TASKS)
        assert next(scan)[0] == b"a"
        store.batch().delete(Table.TASKS, b"b")
        store.batch().delete(Table.TASKS, b"c")
        fill(store, Table.TASKS, b"a1")
        store.commit()
        assert [key for key, _ in scan] == [b"b", b"c"]


def test_view_survives_a_rollback(store: Store) -> None:
    fill(store, Table.TASKS, b"a")
    with store.read() as view:
        store.batch().put(Table.TASKS, b"b", b"")
        store.rollback()
        assert keys(view, Table.TASKS) == [b"a"]


def test_view_is_over_after_its_end(store: Store) -> None:
    fill(store, Table.TASKS, b"a")
    with store.read() as view:
        pass
    with pytest.raises(RuntimeError):
        view.get(Table.TASKS, b"a")


def test_many_views_may_be_open(store: Store) -> None:
    opened = []
    for number in range(100):
        fill(store, Table.TASKS, b"%03d" % number)
        opened.append(store.read())
    views = [context.__enter__() for context in opened]
    fill(store, Table.TASKS, b"last")
    assert {view.count(Table.TASKS) for view in views} == {100}
    for context in opened:
        context.__exit__(None, None, None)


def test_size_counts_what_is_stored(store: Store) -> None:
    before = store.size_bytes()
    store.batch().put(Table.LOG, b"a", b"v" * 1_000_000)
    store.commit()
    assert store.size_bytes() >= before + 1_000_000


def test_installed_staging_replaces_the_state_and_nothing_else(store: Store) -> None:
    for table in Table:
        fill(store, table, b"old")
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"a", b"1"), (b"b", b"2")])
    staging.put_many(Table.TASKS, [(b"c", b"3")])
    staging.put_many(Table.META, [(b"applied", b"9")])
    assert keys(store.batch(), Table.TASKS) == [b"old"]
    staging.install()
    assert keys(store.batch(), Table.TASKS) == [b"a", b"b", b"c"]
    store.commit()
    batch = store.batch()
    assert keys(batch, Table.TASKS) == [b"a", b"b", b"c"]
    assert list(batch.scan(Table.META)) == [(b"applied", b"9")]
    assert keys(batch, Table.RAFT) == keys(batch, Table.LOG) == [b"old"]
    assert all(batch.count(table) == 0 for table in STATE_TABLES if table not in (Table.TASKS, Table.META))


def test_installation_is_part_of_its_batch(store: Store) -> None:
    fill(store, Table.TASKS, b"old")
    fill(store, Table.LOG, b"1", b"2")
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"new", b"")])
    store.batch().put(Table.TASKS, b"goes with the old tables", b"")
    staging.install()
    store.batch().delete(Table.LOG, b"1")
    store.batch().put(Table.TASKS, b"later", b"")
    with store.read() as view:
        assert keys(view, Table.TASKS) == [b"old"]
        store.commit()
        assert keys(view, Table.TASKS) == [b"old"]
    with store.read() as view:
        assert keys(view, Table.TASKS) == [b"later", b"new"]
        assert keys(view, Table.LOG) == [b"2"]


def test_rolled_back_installation_can_be_repeated(store: Store) -> None:
    fill(store, Table.TASKS, b"old")
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"new", b"")])
    staging.install()
    store.rollback()
    assert keys(store.batch(), Table.TASKS) == [b"old"]
    store.rollback()
    staging.install()
    store.commit()
    assert keys(store.batch(), Table.TASKS) == [b"new"]


def test_view_of_the_old_state_outlives_the_next_snapshots(store: Store) -> None:
    fill(store, Table.TASKS, b"first")
    with store.read() as view:
        for number in range(3):
            staging = store.stage()
            staging.put_many(Table.TASKS, [(b"%d" % number, b"")])
            staging.install()
            store.commit()
            fill(store, Table.LOG, b"%d" % number)
        assert keys(view, Table.TASKS) == [b"first"]
    assert keys(store.batch(), Table.TASKS) == [b"2"]


def test_commits_go_on_while_a_snapshot_arrives(store: Store) -> None:
    staging = store.stage()
    for number in range(5):
        staging.put_many(Table.TASKS, [(b"%d" % number, b"")])
        fill(store, Table.LOG, b"%d" % number)
    staging.install()
    store.commit()
    assert keys(store.batch(), Table.TASKS) == [b"0", b"1", b"2", b"3", b"4"]
    assert keys(store.batch(), Table.LOG) == [b"0", b"1", b"2", b"3", b"4"]


def test_staging_while_a_batch_is_open_travels_with_it(store: Store) -> None:
    store.batch().put(Table.LOG, b"1", b"")
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"new", b"")])
    assert store.commit()
    staging.install()
    assert store.commit()
    assert keys(store.batch(), Table.TASKS) == [b"new"]


def test_rollback_of_a_batch_with_staged_rows_ends_the_staging(store: Store) -> None:
    staging = store.stage()
    store.batch().put(Table.LOG, b"1", b"")
    staging.put_many(Table.TASKS, [(b"new", b"")])
    store.rollback()
    with pytest.raises(RuntimeError, match="rolled back"):
        staging.install()
    assert keys(store.batch(), Table.TASKS) == []


def test_discarded_staging_leaves_no_row_behind(store: Store) -> None:
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"a", b"")])
    staging.discard()
    with pytest.raises(RuntimeError):
        staging.put_many(Table.TASKS, [(b"b", b"")])
    with pytest.raises(RuntimeError):
        staging.install()
    later = store.stage()
    later.install()
    store.commit()
    assert keys(store.batch(), Table.TASKS) == []


def test_second_staging_discards_the_first(store: Store) -> None:
    first = store.stage()
    first.put_many(Table.TASKS, [(b"first", b"")])
    second = store.stage()
    first.discard()
    second.put_many(Table.TASKS, [(b"second", b"")])
    with pytest.raises(RuntimeError):
        first.install()
    second.install()
    store.commit()
    assert keys(store.batch(), Table.TASKS) == [b"second"]


def test_staging_is_over_once_installed(store: Store) -> None:
    staging = store.stage()
    staging.install()
    for use in (staging.install, staging.discard, store.stage):
        with pytest.raises(RuntimeError):
            use()
    store.commit()
    with pytest.raises(RuntimeError):
        staging.put_many(Table.TASKS, [(b"a", b"")])
    staging.discard()
    assert keys(store.batch(), Table.TASKS) == []


@pytest.mark.parametrize("rows", [[b"b", b"a"], [b"a", b"a"]])
def test_staged_rows_out_of_order_are_refused(store: Store, rows: list[bytes]) -> None:
    with pytest.raises(ValueError, match="ascending key order"):
        store.stage().put_many(Table.TASKS, [(key, b"") for key in rows])
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"c", b"")])
    with pytest.raises(ValueError, match="ascending key order"):
        staging.put_many(Table.TASKS, [(b"b", b"")])


@pytest.mark.parametrize("key", [b"", b"k" * 512])
def test_staged_key_out_of_bounds_is_refused(store: Store, key: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 511 bytes"):
        store.stage().put_many(Table.TASKS, [(key, b"")])
    fill(store, Table.LOG, b"1")


@pytest.mark.parametrize("table", [Table.RAFT, Table.LOG])
def test_snapshot_holds_no_table_of_the_raft_log(store: Store, table: Table) -> None:
    with pytest.raises(ValueError, match="not part of a snapshot"):
        store.stage().put_many(table, [(b"a", b"")])
