"""Two logs that say the same of an entry's index and term hold the same entries, or the node stops at once."""

from dataclasses import replace

import pytest

from raftsched.consensus.journal import Journal
from raftsched.consensus.matching import InvariantBroken, examine
from raftsched.consensus.messages import COMMAND, NO_OP, LogEntry
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import append

LIE = COMMAND + b"pay twice"


def log_of(*entries: bytes, term: int = 1, store: MemoryStore | None = None) -> Journal:
    journal = Journal(store or MemoryStore(), "a")
    journal.add(NO_OP, 1, 0)
    for index, data in enumerate((NO_OP, *entries), start=2):
        journal.add(data, index, term)
    return journal


def numbered(count: int, lie_at: int = 0) -> list[bytes]:
    return [LIE if number == lie_at else COMMAND + b"%d" % number for number in range(1, count + 1)]


def test_equal_logs_have_equal_checksums_and_one_other_byte_changes_all_that_follow() -> None:
    honest, lied_to = log_of(*numbered(6)), log_of(*numbered(6, lie_at=3))
    same = [honest.chain_at(index) == lied_to.chain_at(index) for index in range(1, 9)]
    assert same == [True, True, True, True, False, False, False, False]
    assert 0 not in [honest.chain_at(index) for index in range(1, 9)]


@pytest.mark.parametrize("prev_index", [5, 6, 8])
def test_a_follower_that_was_told_another_command_stops_at_the_next_append(prev_index: int) -> None:
    leader, follower = log_of(*numbered(6)), log_of(*numbered(6, lie_at=3))
    heartbeat = replace(append(1, (prev_index, 1)), prev_chain=leader.chain_at(prev_index))
    examine(leader, 1, heartbeat)
    with pytest.raises(InvariantBroken, match=f"different entries at or before entry {prev_index} of term 1"):
        examine(follower, 1, heartbeat)


def test_an_entry_that_is_sent_again_with_another_command_stops_the_node() -> None:
    follower = log_of(*numbered(3))
    again = replace(append(1, (3, 1)), entries=(LogEntry(LIE, 4, 1),), prev_chain=follower.chain_at(3))
    with pytest.raises(InvariantBroken, match="at entry 4 of term 1"):
        examine(follower, 1, again)


def test_the_first_append_of_the_next_leader_finds_what_the_last_one_did_not() -> None:
    leader, follower = log_of(*numbered(3)), log_of(*numbered(3, lie_at=3))
    first = replace(append(2, (5, 1)), entries=(LogEntry(NO_OP, 6, 2),), prev_chain=leader.chain_at(5))
    with pytest.raises(InvariantBroken):
        examine(follower, 1, first)


def test_a_log_that_was_compacted_and_read_again_still_knows_what_it_held() -> None:
    store, lied_store = MemoryStore(), MemoryStore()
    leader, follower = log_of(*numbered(6), store=store), log_of(*numbered(6, lie_at=2), store=lied_store)
    for journal in (leader, follower):
        journal.compact_to(7)
        journal.setRaftCommitIndex(7)
        journal.save_commit_index()
    store.commit()
    lied_store.commit()
    leader, follower = Journal(store, "a"), Journal(lied_store, "a")
    assert leader.chain_at(8)
    heartbeat = replace(append(1, (8, 1)), prev_chain=leader.chain_at(8))
    examine(leader, 1, heartbeat)
    with pytest.raises(InvariantBroken):
        examine(follower, 1, heartbeat)


def test_what_one_side_does_not_know_is_not_compared_but_taken_over() -> None:
    store = MemoryStore()
    restored, leader = Journal(store, "a"), log_of(*numbered(6))
    restored.add(NO_OP, 1, 0)
    restored.restart_at(6, 1)
    assert restored.chain_at(6) == 0
    restored.add(leader.entry(7).data, 7, 1)
    assert restored.chain_at(7) == 0
    examine(restored, 1, replace(append(1, (7, 1)), prev_chain=leader.chain_at(7)))
    restored.adopt_chain(6, leader.chain_at(6))
    assert restored.chain_at(7) == leader.chain_at(7)
    restored.setRaftCommitIndex(6)
    restored.save_commit_index()
    store.commit()
    assert Journal(store, "a").chain_at(7) == leader.chain_at(7)


def test_what_is_cut_and_written_anew_has_the_checksum_of_what_is_there() -> None:
    journal, other = log_of(*numbered(6, lie_at=4)), log_of(*numbered(6))
    journal.deleteEntriesFrom(5)
    for index in range(6, 9):
        journal.add(other.entry(index).data, index, 1)
    assert journal.chain_at(8) == other.chain_at(8)


def test_a_log_that_begins_anew_at_the_entry_that_it_began_with_knows_no_checksum_of_before() -> None:
    store = MemoryStore()
    journal = log_of(*numbered(4), store=store)
    journal.compact_to(4)
    assert journal.chain_at(4)
    journal.restart_at(4, 9)
    journal.setRaftCommitIndex(4)
    journal.save_commit_index()
    store.commit()
    assert Journal(store, "a").chain_at(4) == 0


def test_checksums_are_those_of_nodes_of_other_versions() -> None:
    journal = log_of(*numbered(2))
    assert [journal.chain_at(index) for index in range(1, 5)] == [
        2439866095995638602,
        6968950251504307897,
        14144181011893746917,
        1667094504411624030,
    ]
