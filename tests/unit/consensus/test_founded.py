"""When the state machine hears that its state is that of another cluster from here on."""

from raftsched.clock import SystemClock
from raftsched.consensus.directory import open_directory
from raftsched.consensus.shard import RaftShard
from raftsched.ports import Fate, Peer, Role
from tests.support.raft_bench import CountingStore, ListMachine, ManualClock


class Clock(ManualClock):
    """Draws another token each time, so that a recovered cluster has another identity."""

    def token(self) -> str:
        return SystemClock().token()


class Alone:
    """Node a, which is told to found a cluster."""

    def __init__(self) -> None:
        self.store = CountingStore()
        self.clock = Clock()
        self.machine = ListMachine(self.store)
        self.start()

    def start(self, *, recover: bool = False) -> None:
        directory = open_directory(self.store, self.clock, cluster_id="c")
        directory.founds = True
        self.shard = RaftShard(
            shard_id=7,
            node=Peer("a", ""),
            peers=(Peer("a", ""),),
            store=self.store,
            clock=self.clock,
            machine=self.machine,
            on_leadership=lambda _term: None,
            send=lambda _peer_id, _message: None,
            directory=directory,
        )
        if recover:
            self.shard.recover()
        self.store.commit()
        for _ in range(200):
            self.clock.now += 0.1
            self.shard.tick()
        assert self.shard.role is Role.LEADER

    def propose(self) -> None:
        fates: list[Fate] = []
        self.shard.propose(b"command", lambda fate, _outcome: fates.append(fate))
        for _ in range(3):
            self.clock.now += 0.1
            self.shard.tick()
        assert fates == [Fate.DONE]


def test_once_when_a_cluster_is_founded_and_before_any_command() -> None:
    node = Alone()
    assert (node.machine.founded_calls, node.machine.commands) == ([7], [])
    node.propose()
    node.start()
    node.propose()
    assert node.machine.founded_calls == [7]


def test_again_when_a_node_goes_on_alone_as_another_cluster() -> None:
    node = Alone()
    node.propose()
    node.start(recover=True)
    node.propose()
    assert node.machine.founded_calls == [7, 7]
    node.start()
    assert node.machine.founded_calls == [7, 7]
