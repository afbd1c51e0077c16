"""A cluster begins at the newest version that all its founders know, and takes in nobody who does not know it."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.versions import FIRST_VERSION
from raftsched.consensus.directory import Card, open_directory
from raftsched.consensus.shard import RaftShard
from raftsched.ports import Peer
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import ListMachine, ManualClock

PEERS = tuple(Peer(id_, "") for id_ in "abc")


def founded(own: int, cluster_version: int = FIRST_VERSION, **others: int) -> tuple[RaftShard, ListMachine]:
    """Node a, which founds, when the others have shown that their directories are empty and what they know."""
    store, clock = MemoryStore(), ManualClock()
    machine = ListMachine(store)
    directory = open_directory(store, clock, cluster_id="test")
    directory.founds, directory.newest_version = True, own
    shard = RaftShard(
        shard_id=1,
        node=PEERS[0],
        peers=PEERS,
        store=store,
        clock=clock,
        machine=machine,
        on_leadership=lambda _term: None,
        send=lambda _peer_id, _message: None,
        directory=directory,
        takes_in=True,
        cluster_version=lambda: cluster_version,
    )
    for peer_id, newest in others.items():
        card = Card("", f"of {peer_id}", 1, "run", 1, newest_version=newest)
        shard.peer_connected(peer_id)
        shard.doorway.examine(peer_id, card, None)
        shard.doorway.answered(peer_id, card, None)
    for _ in range(60):
        clock.now += 0.1
        shard.tick()
    return shard, machine


@pytest.mark.parametrize(("others", "version"), [({"b": 3, "c": 4}, 3), ({"b": 9, "c": 7}, 5)])
def test_it_begins_at_the_newest_that_all_founders_know(others: dict[str, int], version: int) -> None:
    _, machine = founded(5, **others)
    (first,) = (pb.Command.FromString(command) for command in machine.commands)
    assert (first.version, first.raise_version.to) == (version, version)


def test_nothing_is_raised_while_one_of_them_knows_only_the_first() -> None:
    _, machine = founded(5, b=FIRST_VERSION, c=5)
    assert not machine.commands


def test_who_does_not_know_the_cluster_version_is_not_taken_in() -> None:
    shard, _ = founded(5, cluster_version=3, b=2, c=FIRST_VERSION)
    assert not shard.status().learners
    shard, _ = founded(5, cluster_version=3, b=2, c=3)
    assert shard.status().learners == ("c",)
