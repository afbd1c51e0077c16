"""shards over real gRPC on real LMDB, three nodes in one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from raftsched_proto.internal.v1 import raft_pb2 as pb
from raftsched_proto.internal.v1 import raft_pb2_grpc as rpc

from raftsched.clock import SystemClock
from raftsched.consensus.driver import NodeDriver
from raftsched.consensus.protocol import PROTOCOLS
from raftsched.consensus.settings import MIB, Settings
from raftsched.consensus.shard import RaftShard
from raftsched.consensus.transport import MAX_REQUEST_BYTES, RaftTransport
from raftsched.node.members import KnownMembers
from raftsched.ports import Fate, Peer, Role, Table
from raftsched.store.lmdb_store import LmdbStore
from tests.support.ports import free_ports

DEADLINE_S = 20.0
STEADY = Settings(election_timeout_min_s=3.0, election_timeout_max_s=4.0)
"""For tests that need the same leader throughout, on a machine that has other things to do."""
CLUSTER = "test"


class Counter:
    """Counts the commands, and keeps each by its number."""

    def __init__(self, store: LmdbStore) -> None:
        self.store = store
        self.restores = 0

    def apply(self, index: int, command: bytes) -> bytes:
        self.store.batch().put(Table.TASKS, index.to_bytes(8, "big"), command[:100])
        return command[:10]

    def founded(self, shard_id: int) -> None:
        """Nothing follows from it."""

    def committed(self) -> None:
        """Nobody waits for it."""

    def restored(self) -> None:
        self.restores += 1


class Node:
    """One node, until it is stopped or dies."""

    def __init__(self, peer: Peer, peers: tuple[Peer, ...], directory: Path, settings: Settings) -> None:
        clock = SystemClock()
        self.store = LmdbStore(directory / peer.id)
        self.machine = Counter(self.store)
        self.transport = RaftTransport(cluster_id=CLUSTER, node=peer, members=KnownMembers(peers), clock=clock)
        self.shard = RaftShard(
            shard_id=1,
            node=peer,
            peers=peers,
            store=self.store,
            clock=clock,
            machine=self.machine,
            on_leadership=lambda term: None,
            send=lambda peer_id, message: self.transport.send(1, peer_id, message),
            settings=settings,
        )
        self.driver = NodeDriver(transport=self.transport, store=self.store, clock=clock, settings=settings)
        self.driver.add(self.shard)
        options = [("grpc.max_receive_message_length", MAX_REQUEST_BYTES), ("grpc.so_reuseport", 0)]
        self.server = grpc.aio.server(options=options)
        self.transport.add_to_server(self.server)
        assert self.server.add_insecure_port(peer.address)

    async def start(self) -> None:
        await self.server.start()
        self.transport.start()
        self.running = asyncio.create_task(self.driver.run())

    async def stop(self) -> None:
        self.driver.stop()
        await self.running
        await self.transport.close()
        await self.server.stop(0)
        self.store.close()

    def commands(self) -> list[bytes]:
        """What it has applied and committed, in order."""
        with self.store.read() as view:
            return [value for _, value in view.scan(Table.TASKS)]

    async def propose(self, command: bytes) -> Fate:
        ended: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()
        self.shard.propose(command, lambda fate, outcome: ended.set_result(fate))
        return await ended

    async def read(self) -> Fate:
        ended: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()
        self.shard.read_barrier(ended.set_result)
        return await ended


class Trio:
    """Three nodes on ports that are free."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings
        ports = free_ports(3)
        self.peers = tuple(Peer(node_id, f"127.0.0.1:{port}") for node_id, port in zip("abc", ports, strict=True))
        self.nodes: dict[str, Node] = {}

    async def start(self, node_id: str) -> Node:
        peer = next(peer for peer in self.peers if peer.id == node_id)
        node = Node(peer, self.peers, self.directory, self.settings)
        self.nodes[node_id] = node
        await node.start()
        return node

    async def stop(self, node_id: str) -> None:
        await self.nodes.pop(node_id).stop()

    async def leader(self) -> Node:
        def found() -> Node | None:
            return next((node for node in self.nodes.values() if node.shard.status().role is Role.LEADER), None)

        await eventually(lambda: found() is not None)
        node = found()
        assert node is not None
        return node

    async def propose(self, command: bytes) -> None:
        """Until it is done. One whose fate was unknown is proposed again, and may be done twice."""
        while await (await self.leader()).propose(command) is not Fate.DONE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def agree(self) -> bool:
        """In what they know of the shard, and in what is on their disks."""
        statuses = [node.shard.status() for node in self.nodes.values()]
        known = {(status.term, status.leader_id, status.commit_index, status.applied_index) for status in statuses}
        return len(known) == 1 and len({tuple(node.commands()) for node in self.nodes.values()}) == 1


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def once_each(commands: list[bytes]) -> list[bytes]:
    """The commands in the order in which each was first applied."""
    return list(dict.fromkeys(commands))


@contextlib.asynccontextmanager
async def trio(directory: Path, settings: Settings | None = None) -> AsyncIterator[Trio]:
    made = Trio(directory, settings or Settings())
    try:
        for node_id in "abc":
            await made.start(node_id)
        yield made
    finally:
        for node_id in list(made.nodes):
            await made.stop(node_id)


def test_proposals_and_reads_are_done_and_everyone_agrees(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trio(tmp_path, STEADY) as three:
            leader = await three.leader()
            fates = await asyncio.gather(*(leader.propose(b"%d" % number) for number in range(200)))
            assert set(fates) == {Fate.DONE}
            assert set(await asyncio.gather(*(leader.read() for _ in range(50)))) == {Fate.DONE}
            follower = next(node for node in three.nodes.values() if node is not leader)
            assert await follower.propose(b"x") is Fate.NOT_LEADER
            await eventually(three.agree)

    asyncio.run(scenario())


def test_the_largest_command_passes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trio(tmp_path) as three:
            await three.propose(b"x" * 4 * MIB)
            await eventually(three.agree)

    asyncio.run(scenario())


def test_another_leads_when_the_leader_goes_and_it_catches_up_when_it_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trio(tmp_path) as three:
            await three.propose(b"before")
            gone = (await three.leader()).shard._node_id
            await three.stop(gone)
            await three.propose(b"meanwhile")
            await three.start(gone)
            await eventually(three.agree)
            assert once_each(three.nodes[gone].commands()) == [b"before", b"meanwhile"]

    asyncio.run(scenario())


def test_everything_is_there_after_all_have_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trio(tmp_path) as three:
            for number in range(20):
                await three.propose(b"%02d" % number)
            for node_id in "abc":
                await three.stop(node_id)
            for node_id in "abc":
                await three.start(node_id)
            await three.propose(b"20")
            await eventually(three.agree)
            assert once_each(three.nodes["a"].commands()) == [b"%02d" % number for number in range(21)]

    asyncio.run(scenario())


def test_a_node_that_is_far_behind_gets_a_snapshot(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = Settings(log_keep_entries=50, log_hard_factor=1, snapshot_chunk_bytes=5_000)
        async with trio(tmp_path, settings) as three:
            await three.propose(b"first")
            await three.stop("c")
            for number in range(30):
                await asyncio.gather(*(three.propose(b"%d-%d" % (number, other)) for other in range(30)))
            await three.start("c")
            await eventually(three.agree)
            assert three.nodes["c"].machine.restores == 1
            assert len(once_each(three.nodes["c"].commands())) == 901

    asyncio.run(scenario())


def test_leadership_is_handed_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trio(tmp_path, STEADY) as three:
            await three.propose(b"x")
            leader = await three.leader()
            ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            leader.shard.transfer_leadership("", ended.set_result)
            assert await asyncio.wait_for(ended, DEADLINE_S) == ""
            assert leader.shard.status().role is Role.FOLLOWER
            await three.propose(b"y")

    asyncio.run(scenario())


def greeting(**changes: object) -> pb.RaftGreeting:
    fields = {
        "cluster_id": CLUSTER,
        "sender_id": "b",
        "recipient_id": "a",
        "protocol_version": PROTOCOLS.newest,
    } | changes
    return pb.RaftGreeting(**fields)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cluster_id": "other"}, "cluster"),
        ({"recipient_id": "b"}, "this is node 'a'"),
        ({"sender_id": "x"}, "no peer 'x'"),
        ({"sender_id": "a"}, "no peer 'a'"),
        ({"protocol_version": 1}, f"this node speaks {PROTOCOLS}, the caller protocol 1"),
        ({"protocol_version": 9, "oldest_protocol_version": 8}, "the caller protocols 8 to 9"),
    ],
)
def test_who_does_not_belong_is_refused(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    async def scenario() -> None:
        async with trio(tmp_path) as three, grpc.aio.insecure_channel(three.peers[0].address) as channel:
            stub = rpc.RaftServiceStub(channel)
            call = stub.Exchange()
            await call.write(pb.ExchangeRequest(greeting=greeting(**changes)))
            assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert reason in str(await call.details())
            fetch = stub.FetchSnapshot(pb.FetchSnapshotRequest(greeting=greeting(**changes), shard_id=1))
            assert await fetch.code() is grpc.StatusCode.FAILED_PRECONDITION

    asyncio.run(scenario())


def test_who_speaks_newer_protocols_too_is_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trio(tmp_path) as three, grpc.aio.insecure_channel(three.peers[0].address) as channel:
            await three.stop("b")
            call = rpc.RaftServiceStub(channel).Exchange()
            newer = greeting(oldest_protocol_version=PROTOCOLS.oldest, protocol_version=PROTOCOLS.newest + 3)
            await call.write(pb.ExchangeRequest(greeting=newer))
            answer = await asyncio.wait_for(call.read(), DEADLINE_S)
            assert isinstance(answer, pb.ExchangeResponse)
            assert not answer.refused
            call.cancel()

    asyncio.run(scenario())


def test_nonsense_ends_the_stream_and_hurts_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trio(tmp_path) as three, grpc.aio.insecure_channel(three.peers[0].address) as channel:
            await three.propose(b"before")
            # It would dial anew, and so end the stream of whoever speaks in its name.
            await three.stop("b")
            for nonsense in (pb.RaftMessage(shard_id=9, term=1), pb.RaftMessage(shard_id=1, term=1)):
                call = rpc.RaftServiceStub(channel).Exchange()
                await call.write(pb.ExchangeRequest(greeting=greeting()))
                await call.read()
                await call.write(pb.ExchangeRequest(messages=[nonsense]))
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            await three.start("b")
            await three.propose(b"after")
            await eventually(three.agree)

    asyncio.run(scenario())
