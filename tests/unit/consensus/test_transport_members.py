"""The links of a node follow the members of the cluster while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from raftsched_proto.internal.v1 import raft_pb2 as pb
from raftsched_proto.internal.v1 import raft_pb2_grpc as rpc

from raftsched.clock import SystemClock
from raftsched.consensus import transport
from raftsched.consensus.membership import Members
from raftsched.consensus.transport import RaftTransport
from raftsched.node.members import KnownMembers
from raftsched.ports import Peer

DEADLINE_S = 20.0
ME = Peer("n1", "127.0.0.1:1")


class Listens(rpc.RaftServiceServicer):
    """A peer that takes a link and says nothing more than that it lives."""

    async def Exchange(self, _requests: object, context: Any) -> None:
        while True:
            await context.write(pb.ExchangeResponse())
            await asyncio.sleep(0.1)


class Linked:
    """A shard that notes who is connected."""

    def __init__(self) -> None:
        self.connected: set[str] = set()

    def peer_connected(self, peer_id: str) -> None:
        self.connected.add(peer_id)

    def peer_disconnected(self, peer_id: str) -> None:
        self.connected.remove(peer_id)

    def peer_heard(self, peer_id: str) -> None:
        pass


def linked(test: Callable[[KnownMembers, Linked, tuple[Peer, Peer]], Awaitable[None]]) -> None:
    """Run the test beside the transport of a node that knows itself alone, and two places where peers listen."""

    async def body() -> None:
        servers = [grpc.aio.server() for _ in range(2)]
        ports = []
        for server in servers:
            rpc.add_RaftServiceServicer_to_server(Listens(), server)
            ports.append(server.add_insecure_port("127.0.0.1:0"))
            await server.start()
        members, shard = KnownMembers((ME,)), Linked()
        links = RaftTransport(cluster_id="c", node=ME, members=members, clock=SystemClock())
        links.add_shard(1, shard)
        links.start()
        watching = asyncio.create_task(links.watch())
        try:
            async with asyncio.timeout(DEADLINE_S):
                await test(members, shard, (Peer("n2", f"127.0.0.1:{ports[0]}"), Peer("n2", f"127.0.0.1:{ports[1]}")))
            assert not watching.done()
        finally:
            watching.cancel()
            await links.close()
            for server in servers:
                await server.stop(None)

    asyncio.run(body())


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is awaited happens in gRPC
        await asyncio.sleep(0.01)


def test_a_node_that_joins_is_dialled_and_one_that_has_left_is_hung_up_on_after_a_farewell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "_FAREWELL_S", 0.05)

    async def test(members: KnownMembers, shard: Linked, places: tuple[Peer, Peer]) -> None:
        members.take(Members((ME,), places[:1]))
        await until(lambda: shard.connected == {"n2"})
        members.take(Members((ME,)))
        assert shard.connected == {"n2"}
        await until(lambda: not shard.connected)
        members.take(Members((ME, places[0])))
        await until(lambda: shard.connected == {"n2"})

    linked(test)


def test_a_node_that_comes_back_before_its_farewell_ends_keeps_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_FAREWELL_S", 0.05)

    async def test(members: KnownMembers, shard: Linked, places: tuple[Peer, Peer]) -> None:
        members.take(Members((ME, places[0])))
        await until(lambda: shard.connected == {"n2"})
        members.take(Members((ME,)))
        members.take(Members((ME, places[0])))
        cut = []
        shard.peer_disconnected = cut.append  # type: ignore[method-assign]  # to see it called
        await asyncio.sleep(0.2)
        assert cut == []

    linked(test)


def test_a_node_with_another_address_is_dialled_there() -> None:
    async def test(members: KnownMembers, shard: Linked, places: tuple[Peer, Peer]) -> None:
        members.take(Members((ME, Peer("n2", "127.0.0.1:1"))))
        members.take(Members((ME, places[1])))
        await until(lambda: shard.connected == {"n2"})

    linked(test)
