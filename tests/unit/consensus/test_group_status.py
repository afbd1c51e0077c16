"""What a group takes from its peers, and what it says of itself."""

import pytest

from raftsched.clock import SystemClock
from raftsched.consensus.group import RaftGroup
from raftsched.consensus.messages import AppendReply, AppendResult
from raftsched.ports import Peer, Role, StoreFailed
from raftsched.store.memory_store import MemoryStore


class Idle:
    """A state machine that keeps nothing."""

    def apply(self, index: int, command: bytes) -> bytes:
        return b""

    def committed(self) -> None:
        """Nobody waits for it."""

    def restored(self) -> None:
        raise AssertionError("nothing is restored here")


def group_of(count: int, store: MemoryStore) -> RaftGroup:
    peers = tuple(Peer(f"n{number}", f"127.0.0.1:{number}") for number in range(1, count + 1))
    return RaftGroup(
        group_id=1,
        node=peers[0],
        peers=peers,
        store=store,
        clock=SystemClock(),
        machine=Idle(),
        on_leadership=lambda term: None,
        send=lambda peer_id, message: None,
    )


def test_one_message_cannot_use_up_the_terms() -> None:
    group = group_of(3, MemoryStore())
    group.receive("n2", AppendReply((1 << 62) - 1, 0, 0, AppendResult.BUSY, 0))
    group.tick()
    assert group.status().term == 0
    group.receive("n2", AppendReply(7, 0, 0, AppendResult.BUSY, 0))
    group.tick()
    assert group.status().term == 7


def test_a_failed_group_does_not_say_that_it_leads() -> None:
    store = MemoryStore()
    group = group_of(1, store)
    while group.status().role is not Role.LEADER:
        group.tick()
    group.propose(b"x", lambda fate, outcome: None)
    store.fail_next_commit = True
    with pytest.raises(StoreFailed):
        group.tick()
    assert (group.status().role, group.status().leader_id) == (Role.FOLLOWER, "")
