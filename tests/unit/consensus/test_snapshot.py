"""Snapshots: complete, checked, and installed at once or not at all."""

import dataclasses

import pytest

from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import AppendReply, AppendResult
from raftsched.consensus.snapshot import (
    APPLIED_INDEX_KEY,
    SnapshotDamaged,
    SnapshotHeader,
    SnapshotPart,
    SnapshotReceiver,
    SnapshotRows,
    SnapshotTrailer,
    encode_index,
    read_snapshot,
)
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import Bench, append, only


def source(tasks: int = 40) -> MemoryStore:
    store = MemoryStore()
    journal = Journal(store, "b")
    for index in range(1, 10):
        journal.add(b"\x10x", index, index // 2)
    batch = store.batch()
    for number in range(tasks):
        batch.put(Table.TASKS, b"task %03d" % number, b"row of %d" % number)
    batch.put(Table.DUE, b"due", b"")
    batch.put(Table.META, APPLIED_INDEX_KEY, encode_index(8))
    store.commit()
    return store


def parts_of(store: MemoryStore, chunk_bytes: int = 100) -> list[SnapshotPart]:
    with store.read() as view:
        return list(read_snapshot(view, chunk_bytes))


def receive(parts: list[SnapshotPart], store: MemoryStore | None = None) -> SnapshotReceiver:
    receiver = SnapshotReceiver(store or MemoryStore())
    for part in parts:
        receiver.add(part)
    return receiver


def test_it_says_what_it_includes() -> None:
    assert parts_of(source())[0] == SnapshotHeader(index=8, term=4)


def test_parts_are_small_and_hold_all_rows() -> None:
    rows = [part for part in parts_of(source()) if isinstance(part, SnapshotRows)]
    assert max(sum(len(key) + len(value) for key, value in part.rows) for part in rows) < 130
    assert sum(len(part.rows) for part in rows) == 42
    assert not {part.table for part in rows} & {Table.LOG, Table.RAFT}


def test_it_is_one_moment_whatever_is_written_meanwhile() -> None:
    store = source()
    with store.read() as view:
        parts = read_snapshot(view, 100)
        next(parts)
        store.batch().put(Table.TASKS, b"later", b"")
        store.batch().put(Table.META, APPLIED_INDEX_KEY, encode_index(9))
        store.commit()
        rows = [row for part in parts if isinstance(part, SnapshotRows) for row in part.rows]
    assert b"later" not in dict(rows)
    assert dict(rows)[APPLIED_INDEX_KEY] == encode_index(8)


def test_it_replaces_everything_with_the_commit_and_not_before() -> None:
    target = MemoryStore()
    target.batch().put(Table.TASKS, b"old", b"")
    target.commit()
    receiver = receive(parts_of(source()), target)
    receiver.install()
    with target.read() as view:
        assert [key for key, _ in view.scan(Table.TASKS)] == [b"old"]
    target.commit()
    with target.read() as view:
        assert view.count(Table.TASKS) == 40
        assert view.get(Table.TASKS, b"old") is None


def test_a_crash_before_the_commit_leaves_what_was() -> None:
    target = MemoryStore()
    target.batch().put(Table.TASKS, b"old", b"")
    target.commit()
    receive(parts_of(source()), target).install()
    target.crash()
    with target.read() as view:
        assert [key for key, _ in view.scan(Table.TASKS)] == [b"old"]


def _without(position: int) -> list[SnapshotPart]:
    parts = parts_of(source())
    del parts[position]
    return parts


def _altered() -> list[SnapshotPart]:
    parts = parts_of(source())
    rows = parts[2]
    assert isinstance(rows, SnapshotRows)
    key, value = rows.rows[0]
    parts[2] = dataclasses.replace(rows, rows=[(key, bytes([value[0] ^ 1]) + value[1:]), *rows.rows[1:]])
    return parts


def _swapped() -> list[SnapshotPart]:
    parts = parts_of(source())
    parts[2], parts[3] = parts[3], parts[2]
    return parts


@pytest.mark.parametrize(
    "parts",
    [
        _without(0),
        _without(2),
        _altered(),
        _swapped(),
        [*parts_of(source())[:-1], SnapshotTrailer(42, b"0" * 32)],
        [*parts_of(source()), SnapshotHeader(8, 4)],
        [SnapshotHeader(8, 4), SnapshotHeader(8, 4)],
        [SnapshotHeader(8, 4), SnapshotRows(Table.LOG, [(b"k", b"v")])],
    ],
    ids=[
        "no header",
        "missing rows",
        "a bit",
        "rows out of order",
        "digest",
        "after the end",
        "twice",
        "no state table",
    ],
)
def test_damage_is_refused(parts: list[SnapshotPart]) -> None:
    with pytest.raises(SnapshotDamaged):
        receive(parts)


def test_an_incomplete_one_is_not_complete() -> None:
    assert not receive(parts_of(source())[:-1]).complete


class TestGroup:
    def test_goes_on_from_a_snapshot(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(4, (9, 4), oldest=True))
        bench.group.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        status = bench.group.status()
        assert (status.first_index, status.last_index, status.commit_index, status.applied_index) == (8, 8, 8, 8)
        assert bench.machine.restored_calls == 1
        [(_, reply)] = only(bench.hear("b", append(4, (8, 4), [4])), AppendReply)
        assert (reply.result, reply.index) == (AppendResult.ACCEPTED, 9)

    def test_has_it_on_disk_after_a_crash(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(4, (9, 4), oldest=True))
        bench.group.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        bench.restart()
        status = bench.group.status()
        assert (status.first_index, status.commit_index, status.applied_index) == (8, 8, 8)

    def test_keeps_entries_behind_it_that_it_may_have_acknowledged(self) -> None:
        bench = Bench().log(1, 1, 2, 2, 3, 3, 4, 4, 4, 4).start()
        bench.group.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        status = bench.group.status()
        assert (status.first_index, status.applied_index, status.last_index) == (8, 8, 11)

    def test_drops_entries_that_conflict_with_it(self) -> None:
        bench = Bench().log(1, 1, 1, 1, 1, 1, 1, 1, 1).start()
        bench.group.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        status = bench.group.status()
        assert (status.first_index, status.last_index) == (8, 8)

    def test_never_goes_back_to_one(self) -> None:
        bench = Bench().log(1, 1, 2, 2, 3, 3, 4, 4, committed=9, applied=9).start()
        bench.group.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        assert bench.group.status().applied_index == 9
        assert bench.machine.restored_calls == 0

    def test_asks_again_after_a_failure(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(4, (9, 4), oldest=True))
        bench.group.snapshot_failed()
        assert bench.group.snapshot_source == ""
        bench.hear("c", append(5, (9, 4), oldest=True))
        assert bench.group.snapshot_source == "c"
