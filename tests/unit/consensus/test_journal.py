"""The log, term and vote on the disk."""

import pytest

from raftsched.consensus.journal import Journal, stored_term
from raftsched.consensus.messages import CONFIG, LogEntry
from raftsched.ports import StoreRefused, Table
from raftsched.store.memory_store import MemoryStore


def filled(store: MemoryStore, entries: int = 5) -> Journal:
    journal = Journal(store, "a")
    for index in range(1, entries + 1):
        journal.add(b"\x10" + b"x" * index, index, (index + 1) // 2)
    journal.setCurrentTerm(7, "b")
    journal.setRaftCommitIndex(3)
    journal.save_commit_index()
    store.commit()
    return journal


def opened(store: MemoryStore) -> Journal:
    store.crash()
    return Journal(store, "a")


def test_what_was_committed_is_there_again() -> None:
    store = MemoryStore()
    before = filled(store)
    after = opened(store)
    assert list(after) == list(before)
    assert (after.getCurrentTerm(), after.getVotedForNodeId(), after.getRaftCommitIndex()) == (7, "b", 3)
    assert after.size_bytes == before.size_bytes


def test_what_was_not_committed_is_gone() -> None:
    store = MemoryStore()
    journal = filled(store)
    journal.add(b"\x10more", 6, 7)
    journal.deleteEntriesFrom(2)
    journal.setCurrentTerm(8, None)
    after = opened(store)
    assert (after.last_index, after.getCurrentTerm(), after.voted_for) == (5, 7, "b")


def test_cutting_and_compacting_survive() -> None:
    store = MemoryStore()
    journal = filled(store)
    journal.deleteEntriesFrom(4)
    journal.compact_to(3)
    store.commit()
    after = opened(store)
    assert [entry.index for entry in after] == [3, 4]


def test_restarting_leaves_a_base_entry_only() -> None:
    store = MemoryStore()
    journal = filled(store)
    journal.restart_at(40, 6)
    journal.setRaftCommitIndex(40)
    journal.save_commit_index()
    store.commit()
    after = opened(store)
    assert [(entry.index, entry.term) for entry in after] == [(40, 6)]
    assert (after.size_bytes, after.first_index, after.last_index, after.last_term) == (0, 40, 40, 6)


def test_terms_by_index() -> None:
    journal = filled(MemoryStore())
    journal.compact_to(2)
    assert [journal.term_at(index) for index in range(1, 7)] == [None, 1, 2, 2, 3, None]
    assert journal.first_index_of_term_at(4) == 3
    assert journal.entry(4) == LogEntry(b"\x10xxxx", 4, 2)


def test_bytes_by_index() -> None:
    journal = filled(MemoryStore())
    assert journal.size_bytes == 3 + 4 + 5 + 6
    assert journal.bytes_after(3) == 5 + 6
    assert journal.first_within(11) == 3
    assert journal.first_within(10) == 4
    assert journal.first_within(10_000) == 1


def test_the_first_commit_index_beyond_that_of_a_new_log_is_written() -> None:
    store = MemoryStore()
    journal = Journal(store, "a")
    for index in (1, 2):
        journal.add(b"\x10x", index, 1)
    assert journal.getRaftCommitIndex() == 1
    journal.setRaftCommitIndex(2)
    journal.save_commit_index()
    store.commit()
    assert opened(store).getRaftCommitIndex() == 2


def test_what_is_cut_is_to_be_committed_before_anything_is_said_of_it() -> None:
    store = MemoryStore()
    journal = filled(store)
    journal.dirty = False
    journal.deleteEntriesFrom(4)
    assert journal.dirty


def test_members_stay_until_their_own_entry_is_cut() -> None:
    store = MemoryStore()
    journal = filled(store)
    for index in (6, 7):
        journal.add((CONFIG if index == 6 else b"\x10") + b"x", index, 7)
    journal.deleteEntriesFrom(6)
    assert journal.last_config == LogEntry(CONFIG + b"x", 6, 7)
    journal.deleteEntriesFrom(5)
    assert journal.last_config is None


def test_an_unchanged_commit_index_is_not_written_again() -> None:
    store = MemoryStore()
    journal = filled(store)
    journal.setRaftCommitIndex(3)
    journal.save_commit_index()
    assert not store.commit()


def test_the_term_of_an_entry_can_be_read_from_a_view() -> None:
    store = MemoryStore()
    filled(store)
    with store.read() as view:
        assert stored_term(view, 3) == 2
        with pytest.raises(StoreRefused):
            stored_term(view, 9)


def key(index: int) -> bytes:
    return index.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda batch: batch.delete(Table.LOG, key(3)), "between 2 and 4"),
        (lambda batch: batch.put(Table.LOG, key(3), b"short"), "not one of ours"),
        (lambda batch: batch.put(Table.LOG, key(3), bytes(20)), "between 2 and 3"),
        (lambda batch: batch.delete(Table.RAFT, b"node_id"), "no owner"),
        (lambda batch: [batch.delete(Table.LOG, key(index)) for index in range(1, 6)], "commit index"),
        (lambda batch: [batch.delete(Table.LOG, key(index)) for index in (3, 4, 5)], "commit index"),
    ],
    ids=["a gap", "a short row", "a row of an earlier term", "a log without an owner", "no log", "a cut-off log"],
)
def test_damage_is_refused(damage: object, message: str) -> None:
    store = MemoryStore()
    filled(store)
    damage(store.batch())
    store.commit()
    with pytest.raises(StoreRefused, match=message):
        opened(store)


def test_the_store_of_another_node_is_refused() -> None:
    store = MemoryStore()
    filled(store)
    with pytest.raises(StoreRefused, match="belongs to node 'a', this node is 'b'"):
        Journal(store, "b")
