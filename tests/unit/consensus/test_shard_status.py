"""What a shard takes from its peers, and what it says of itself."""

import pytest

from raftsched.clock import SystemClock
from raftsched.consensus.directory import Card
from raftsched.consensus.journal import Journal
from raftsched.consensus.membership import Members, config_entry
from raftsched.consensus.messages import AppendReply, AppendResult, PreVoteReply, Vote
from raftsched.consensus.shard import RaftShard
from raftsched.ports import Peer, Role, StoreFailed
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import ELECTION_TIMEOUT_S, Bench, append


class Idle:
    """A state machine that keeps nothing."""

    def apply(self, index: int, command: bytes) -> bytes:
        return b""

    def founded(self, shard_id: int) -> None:
        """Nothing follows from it."""

    def committed(self) -> None:
        """Nobody waits for it."""

    def restored(self) -> None:
        raise AssertionError("nothing is restored here")


def shard_of(count: int, store: MemoryStore) -> RaftShard:
    peers = tuple(Peer(f"n{number}", f"127.0.0.1:{number}") for number in range(1, count + 1))
    return RaftShard(
        shard_id=1,
        node=peers[0],
        peers=peers,
        store=store,
        clock=SystemClock(),
        machine=Idle(),
        on_leadership=lambda term: None,
        send=lambda peer_id, message: None,
    )


def test_one_message_cannot_use_up_the_terms() -> None:
    shard = shard_of(3, MemoryStore())
    shard.receive("n2", AppendReply((1 << 62) - 1, 0, 0, AppendResult.BUSY, 0))
    shard.tick()
    assert shard.status().term == 0
    shard.receive("n2", AppendReply(7, 0, 0, AppendResult.BUSY, 0))
    shard.tick()
    assert shard.status().term == 7


def test_a_failed_group_does_not_say_that_it_leads() -> None:
    store = MemoryStore()
    shard = shard_of(1, store)
    while shard.status().role is not Role.LEADER:
        shard.tick()
    shard.propose(b"x", lambda fate, outcome: None)
    store.fail_next_commit = True
    with pytest.raises(StoreFailed):
        shard.tick()
    assert (shard.status().role, shard.status().leader_id) == (Role.FOLLOWER, "")


def test_a_node_has_its_state_once_it_has_applied_what_its_leader_had_committed() -> None:
    bench = Bench().start()
    assert not bench.shard.status().has_state
    bench.hear("b", append(1, (9, 1), commit=9))
    assert not bench.shard.status().has_state
    bench.hear("b", append(1, (1, 0), (1,) * 4, commit=9))
    bench.wait(0.2)
    assert not bench.shard.status().has_state
    bench.hear("b", append(1, (5, 1), (1,) * 4, commit=9))
    bench.wait(0.2)
    assert bench.shard.status().has_state


def test_an_answer_counts_as_that_of_the_directory_which_the_members_name() -> None:
    """A voter that lost its disk is another server."""
    named = tuple(Peer(id_, "", f"{id_}1") for id_ in "abc")
    bench = Bench()
    bench.log(1)
    journal = Journal(bench.store, "a")
    journal.add(config_entry(Members(named)), 3, 1)
    bench.store.commit()
    bench.start()
    bench.wait(ELECTION_TIMEOUT_S)
    bench.shard.receive("b", PreVoteReply(bench.term, bench.term + 1, granted=True), Card("", "b1"))
    bench.tick()
    bench.shard.receive("b", Vote(bench.term, granted=True), Card("", "b2"))
    bench.tick()
    assert bench.role is Role.CANDIDATE
    bench.shard.receive("b", Vote(bench.term, granted=True), Card("", "b1"))
    bench.tick()
    assert bench.role is Role.LEADER
