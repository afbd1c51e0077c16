"""The link of a node to a peer is dialled again for as long as the node lives, whatever its calls end with."""

import asyncio
import contextlib
from typing import Any

import grpc
import pytest
from raftsched_proto.internal.v1 import raft_pb2 as pb
from raftsched_proto.internal.v1 import raft_pb2_grpc as rpc

from raftsched.clock import SystemClock
from raftsched.consensus import transport
from raftsched.consensus.messages import AppendEntries, LogEntry
from raftsched.consensus.transport import RaftTransport
from raftsched.node.members import KnownMembers
from raftsched.ports import Peer

DIALS = 25
DEADLINE_S = 20.0


class HangsUp(rpc.RaftServiceServicer):
    """A peer that takes a few messages and then ends the call, as one that is stopped does."""

    def __init__(self, status: grpc.StatusCode) -> None:
        self._status = status
        self.dials = 0

    async def Exchange(self, _requests: object, context: Any) -> None:
        self.dials += 1
        await context.write(pb.ExchangeResponse())
        for _ in range(self.dials % 4):
            await context.read()
        if self._status is not grpc.StatusCode.OK:
            await context.abort(self._status, "stopping")


class Sender:
    """A shard that has something to say whenever the link is up."""

    def __init__(self) -> None:
        self.connected = False

    def peer_connected(self, peer_id: str) -> None:
        self.connected = True

    def peer_disconnected(self, peer_id: str) -> None:
        self.connected = False

    def peer_heard(self, peer_id: str) -> None:
        pass


@pytest.mark.parametrize("status", [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_call_that_ends_while_messages_are_written_is_dialled_again(status: grpc.StatusCode) -> None:
    asyncio.run(_dial_many_times(HangsUp(status)))


async def _dial_many_times(peer: HangsUp) -> None:
    server = grpc.aio.server()
    rpc.add_RaftServiceServicer_to_server(peer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    me, other = Peer("n1", "127.0.0.1:1"), Peer("n2", f"127.0.0.1:{port}")
    transport = RaftTransport(cluster_id="test", node=me, members=KnownMembers((me, other)), clock=SystemClock())
    transport.add_shard(1, Sender())
    message = AppendEntries(1, 1, 1, (LogEntry(b"x" * 1_000, 2, 1),), 1, 1, 1, False)
    transport.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while peer.dials < DIALS:
                for _ in range(20):
                    transport.send(1, "n2", message)
                await asyncio.sleep(0.001)
    except TimeoutError:
        pytest.fail(f"the link was dialled {peer.dials} times and then given up")
    finally:
        await transport.close()
        with contextlib.suppress(asyncio.CancelledError):
            await server.stop(None)


class CancelsSnapshots(rpc.RaftServiceServicer):
    async def FetchSnapshot(self, _request: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.CANCELLED, "stopping")


def test_a_snapshot_that_the_peer_cancels_is_a_connection_error() -> None:
    async def fetch() -> None:
        server = grpc.aio.server()
        rpc.add_RaftServiceServicer_to_server(CancelsSnapshots(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        me, other = Peer("n1", "127.0.0.1:1"), Peer("n2", f"127.0.0.1:{port}")
        transport = RaftTransport(cluster_id="test", node=me, members=KnownMembers((me, other)), clock=SystemClock())
        with pytest.raises(ConnectionError, match="n2 gives no snapshot"):
            async for _ in transport.fetch_snapshot(1, "n2"):
                pass
        await transport.close()
        await server.stop(None)

    asyncio.run(fetch())


def test_a_link_is_closed_though_its_call_has_swallowed_the_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        dialled = asyncio.Event()

        async def connect_once(_link: object) -> None:
            """As a call of gRPC does that the peer cancels at the same time: it ends, and nobody hears of it."""
            dialled.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        monkeypatch.setattr(transport._Link, "_connect_once", connect_once)
        peers = (Peer("n1", "127.0.0.1:1"), Peer("n2", "127.0.0.1:2"))
        links = RaftTransport(cluster_id="c", node=peers[0], members=KnownMembers(peers), clock=SystemClock())
        links.start()
        await dialled.wait()
        async with asyncio.timeout(20):
            await links.close()

    asyncio.run(body())
