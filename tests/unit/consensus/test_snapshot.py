"""Snapshots: complete, checked, and installed at once or not at all."""

import dataclasses

import pytest

from raftsched.commands.versions import CLUSTER_VERSION_KEY, cluster_version_row
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import AppendReply, AppendResult
from raftsched.consensus.snapshot import (
    APPLIED_INDEX_KEY,
    SnapshotDamaged,
    SnapshotHeader,
    SnapshotPart,
    SnapshotReceiver,
    SnapshotRows,
    SnapshotSender,
    digest_of,
    encode_index,
)
from raftsched.ports import NodeOutdated, Table
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import Bench, ManualClock, append, only
from tests.support.versions import NEWER, NEWER_PROGRAM, OLDER_PROGRAM


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


def sender_of(store: MemoryStore, chunk_bytes: int = 100) -> SnapshotSender:
    return SnapshotSender(store, ManualClock(), chunk_bytes)


def parts_of(store: MemoryStore) -> list[SnapshotPart]:
    with sender_of(store).parts() as parts:
        return list(parts)


def receive(parts: list[SnapshotPart], store: MemoryStore | None = None) -> SnapshotReceiver:
    receiver = SnapshotReceiver(store or MemoryStore())
    for part in parts:
        receiver.add(part)
    return receiver


def test_of_a_newer_cluster_version_nothing_is_taken() -> None:
    store = source()
    store.batch().put(Table.META, CLUSTER_VERSION_KEY, cluster_version_row(NEWER))
    store.commit()
    receiver = SnapshotReceiver(MemoryStore(), OLDER_PROGRAM)
    with pytest.raises(NodeOutdated, match=f"snapshot of a peer is of cluster version {NEWER}"):
        receiver.add(parts_of(store)[0])
    SnapshotReceiver(MemoryStore(), NEWER_PROGRAM).add(parts_of(store)[0])


def test_it_says_what_it_includes() -> None:
    header = parts_of(source())[0]
    assert isinstance(header, SnapshotHeader)
    assert (header.index, header.term, header.rows) == (8, 4, 42)


def test_parts_are_small_and_hold_all_rows() -> None:
    rows = [part for part in parts_of(source()) if isinstance(part, SnapshotRows)]
    assert max(sum(len(key) + len(value) for key, value in part.rows) for part in rows) < 130
    assert sum(len(part.rows) for part in rows) == 42
    assert not {part.table for part in rows} & {Table.LOG, Table.RAFT}


def test_it_is_one_moment_whatever_is_written_meanwhile() -> None:
    store = source()
    with sender_of(store).parts() as parts:
        next(parts)
        store.batch().put(Table.TASKS, b"later", b"")
        store.batch().put(Table.META, APPLIED_INDEX_KEY, encode_index(9))
        store.commit()
        rows = [row for part in parts if isinstance(part, SnapshotRows) for row in part.rows]
    assert b"later" not in dict(rows)
    assert dict(rows)[APPLIED_INDEX_KEY] == encode_index(8)


@pytest.mark.parametrize("broken_off_after", range(2, 11))
def test_it_goes_on_where_a_stream_broke_off(broken_off_after: int) -> None:
    store, target = source(), MemoryStore()
    sender, receiver = sender_of(store), SnapshotReceiver(target)
    with sender.parts() as parts:
        for _ in range(broken_off_after):
            receiver.add(next(parts))
    store.batch().delete(Table.TASKS, b"task 000")
    store.commit()
    resumed_at = receiver.position
    with sender.parts(resumed_at) as parts:
        for part in parts:
            receiver.add(part)
    assert receiver.complete
    receiver.install()
    target.commit()
    with target.read() as view:
        assert [key for key, _ in view.scan(Table.TASKS)] == [b"task %03d" % number for number in range(40)]


def test_it_begins_anew_when_the_sender_has_it_no_more() -> None:
    store = source()
    receiver = SnapshotReceiver(MemoryStore())
    with sender_of(store).parts() as parts:
        for _ in range(4):
            receiver.add(next(parts))
    first = receiver.header
    clock = ManualClock()
    clock.token = lambda: "another"
    with SnapshotSender(store, clock, 100).parts(receiver.position) as parts:
        for part in parts:
            receiver.add(part)
    assert receiver.complete
    assert receiver.header.snapshot_id != first.snapshot_id


def test_views_that_nobody_comes_back_for_are_released() -> None:
    store = source()
    clock = ManualClock()
    tokens = iter("abcdefgh")
    clock.token = lambda: next(tokens)
    sender = SnapshotSender(store, clock, 100)
    for _ in range(6):
        with sender.parts() as parts:
            next(parts)
    assert len(store._views) == 4
    clock.now += 29
    sender.forget_old()
    assert len(store._views) == 4
    clock.now += 2
    sender.forget_old()
    assert store._views == []


def test_only_views_that_are_old_are_released_and_all_at_the_end() -> None:
    store = source()
    clock = ManualClock()
    tokens = iter("abcdefgh")
    clock.token = lambda: next(tokens)
    sender = SnapshotSender(store, clock, 100)
    for _ in range(3):
        with sender.parts() as parts:
            next(parts)
        clock.now += 20
    sender.forget_old()
    assert len(store._views) == 1
    with sender.parts() as parts:
        next(parts)
    clock.now += 15
    sender.forget_old()
    assert len(store._views) == 1
    with sender.parts() as parts:
        next(parts)
    sender.close()
    assert store._views == []


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


def _rows(table: Table, rows: list[tuple[bytes, bytes]]) -> SnapshotRows:
    return SnapshotRows(table, rows, digest_of(table, rows))


@pytest.mark.parametrize(
    "parts",
    [
        parts_of(source())[1:],
        _altered(),
        _swapped(),
        [*parts_of(source())[:2], parts_of(source())[1]],
        [SnapshotHeader("id", 8, 4, 1), _rows(Table.TASKS, [(b"a", b""), (b"b", b"")])],
        [SnapshotHeader("id", 8, 4, 1), _rows(Table.LOG, [(b"k", b"v")])],
        [SnapshotHeader("id", 8, 4, 1), _rows(Table.TASKS, [])],
    ],
    ids=["no header", "an altered bit", "out of order", "repeated", "too many", "no state table", "empty"],
)
def test_damage_is_refused(parts: list[SnapshotPart]) -> None:
    with pytest.raises(SnapshotDamaged):
        receive(parts)


def test_missing_rows_leave_it_incomplete() -> None:
    parts = parts_of(source())
    del parts[2]
    assert not receive(parts).complete


def test_what_was_staged_and_is_discarded_takes_no_room_and_cannot_be_installed() -> None:
    target = MemoryStore()
    receiver = receive(parts_of(source()), target)
    assert target._staging is not None
    receiver.discard()
    assert target._staging is None
    with pytest.raises(RuntimeError, match="the staging is over"):
        receiver.install()


class TestGroup:
    def test_goes_on_from_a_snapshot(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(4, (9, 4), oldest=True))
        bench.shard.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        status = bench.shard.status()
        assert (status.first_index, status.last_index, status.commit_index, status.applied_index) == (8, 8, 8, 8)
        assert bench.machine.restored_calls == 1
        [(_, reply)] = only(bench.hear("b", append(4, (8, 4), [4])), AppendReply)
        assert (reply.result, reply.index) == (AppendResult.ACCEPTED, 9)

    def test_has_it_on_disk_after_a_crash(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(4, (9, 4), oldest=True))
        bench.shard.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        bench.restart()
        status = bench.shard.status()
        assert (status.first_index, status.commit_index, status.applied_index) == (8, 8, 8)

    def test_keeps_entries_behind_it_that_it_may_have_acknowledged(self) -> None:
        bench = Bench().log(1, 1, 2, 2, 3, 3, 4, 4, 4, 4).start()
        bench.shard.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        status = bench.shard.status()
        assert (status.first_index, status.applied_index, status.last_index) == (8, 8, 11)

    def test_drops_entries_that_conflict_with_it(self) -> None:
        bench = Bench().log(1, 1, 1, 1, 1, 1, 1, 1, 1).start()
        bench.shard.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        status = bench.shard.status()
        assert (status.first_index, status.last_index) == (8, 8)

    def test_never_goes_back_to_one(self) -> None:
        bench = Bench().log(1, 1, 2, 2, 3, 3, 4, 4, committed=9, applied=9).start()
        bench.shard.install_snapshot(receive(parts_of(source()), bench.store))
        bench.tick()
        assert bench.shard.status().applied_index == 9
        assert bench.machine.restored_calls == 0

    def test_asks_again_after_a_failure(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(4, (9, 4), oldest=True))
        bench.shard.snapshot_failed()
        assert bench.shard.snapshot_source == ""
        bench.hear("c", append(5, (9, 4), oldest=True))
        assert bench.shard.snapshot_source == "c"
