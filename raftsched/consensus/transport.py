"""Raft messages over gRPC: one long-lived stream from each node to each other node, for all groups.

A node sends only on the streams that it dialled, and receives only on those that it accepted, so each direction breaks
and heals by itself. The accepting side answers with small signs of life; without them the dialling side takes the link
for dead and dials anew, on a new TCP connection, since the old one would wait out its retransmission timers.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Protocol

import grpc
import structlog

from raftsched.cancellation import end_if_cancelled, is_being_cancelled
from raftsched.consensus import wire
from raftsched.consensus.messages import Message, size_bytes
from raftsched.consensus.settings import MAX_COMMAND_BYTES, MIB
from raftsched.consensus.snapshot import SnapshotPart, SnapshotPosition
from raftsched.internal.v1 import raft_pb2 as pb
from raftsched.internal.v1 import raft_pb2_grpc as rpc
from raftsched.ports import Clock, Peer

MAX_REQUEST_BYTES = MAX_COMMAND_BYTES + 4 * MIB
"""No request is larger: the server that carries the service must accept so many bytes."""
PROTOCOL_VERSION = 1

_MAX_QUEUE_BYTES = 64 * MIB
_WRITE_BYTES = 1 * MIB
_SIGN_OF_LIFE_S = 0.5
_SILENCE_S = 2.5
_CONNECT_S = 1.0
_BACKOFF_MIN_S, _BACKOFF_MAX_S = 0.05, 0.25
_REFUSED_BACKOFF_S = 2.0
_MAX_SNAPSHOTS_AT_ONCE = 4
_SNAPSHOT_STALL_S = 5.0
_CHANNEL_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
]

_ExchangeContext = grpc.aio.ServicerContext[pb.ExchangeRequest, pb.ExchangeResponse]
_FetchContext = grpc.aio.ServicerContext[pb.FetchSnapshotRequest, pb.FetchSnapshotResponse]
_Exchange = grpc.aio.StreamStreamCall[pb.ExchangeRequest, pb.ExchangeResponse]

_log = structlog.get_logger(__name__)


class GroupEndpoint(Protocol):
    """One Raft group, as the transport sees it. All calls return at once."""

    def receive(self, peer_id: str, message: Message) -> bool:
        """Take a message; False: the link shall be cut."""

    def peer_connected(self, peer_id: str) -> None:
        """Messages to the peer leave from now on."""

    def peer_disconnected(self, peer_id: str) -> None:
        """Messages to the peer are lost from now on."""

    def peer_heard(self, peer_id: str) -> None:
        """The peer's process gave a sign of life."""

    def send_snapshot(
        self, position: SnapshotPosition | None
    ) -> contextlib.AbstractContextManager[Iterator[SnapshotPart]]:
        """The parts of a snapshot, behind the position if it is still known."""


class RaftTransport(rpc.RaftServiceServicer):
    """The links of one node to its peers. Belongs to one event loop."""

    def __init__(self, *, cluster_id: str, node: Peer, peers: tuple[Peer, ...], clock: Clock) -> None:
        """``peers`` are all nodes; ``node`` may be among them."""
        self._cluster_id = cluster_id
        self._node_id = node.id
        self._groups: dict[int, GroupEndpoint] = {}
        self._closing = asyncio.Event()
        self._links = {
            peer.id: _Link(self._greeting(peer.id), peer, clock, self._groups) for peer in peers if peer.id != node.id
        }
        self._inbound: dict[str, asyncio.Event] = {}
        self._snapshots = 0
        self._tasks: list[asyncio.Task[None]] = []

    def add_group(self, group_id: int, endpoint: GroupEndpoint) -> None:
        """Carry the messages of a group. All groups are added before ``start``."""
        self._groups[group_id] = endpoint

    def add_to_server(self, server: grpc.aio.Server) -> None:
        """Serve the peers. The server must accept requests of ``MAX_REQUEST_BYTES``."""
        rpc.add_RaftServiceServicer_to_server(self, server)

    def start(self) -> None:
        """Begin to dial."""
        self._tasks = [
            asyncio.create_task(link.run(), name=f"raft link {link.peer.id}") for link in self._links.values()
        ]

    async def watch(self) -> None:
        """Wait until cancelled. Raises what ended a link, which only a defect of ours can."""
        await asyncio.gather(*self._tasks, asyncio.Event().wait())

    async def close(self) -> None:
        """Hang up on all peers. The server is the caller's to stop."""
        self._closing.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def send(self, group_id: int, peer_id: str, message: Message) -> None:
        """Queue a message. It is lost when there is no link or it is down; a link whose queue is full is cut."""
        link = self._links.get(peer_id)
        if link is not None:
            link.send(group_id, message)

    async def fetch_snapshot(
        self, group_id: int, peer_id: str, position: SnapshotPosition | None = None
    ) -> AsyncGenerator[SnapshotPart, None]:
        """The parts of a peer's snapshot, behind the position if the peer still knows it.

        Raises ConnectionError: the peer cannot be reached, refuses, or sends what makes no sense.
        """
        peer = self._links[peer_id].peer
        request = pb.FetchSnapshotRequest(greeting=self._greeting(peer_id), group_id=group_id)
        if position is not None:
            request.position.CopyFrom(wire.encode_position(position))
        async with grpc.aio.insecure_channel(peer.address, _CHANNEL_OPTIONS) as channel:
            call = rpc.RaftServiceStub(channel).FetchSnapshot(request)
            try:

                async def next_part() -> pb.FetchSnapshotResponse | None:
                    # Not wait_for: up to Python 3.11 it may swallow the cancellation of a node that stops.
                    async with asyncio.timeout(_SNAPSHOT_STALL_S):
                        part = await call.read()
                    return part if isinstance(part, pb.FetchSnapshotResponse) else None

                while (part := await next_part()) is not None:
                    yield wire.decode_part(part)
            except grpc.aio.AioRpcError as error:
                raise ConnectionError(f"{peer_id} gives no snapshot: {error.details()}") from error
            except (TimeoutError, wire.WireError) as error:
                raise ConnectionError(f"{peer_id} gives no snapshot: {error or 'it went silent'}") from error
            finally:
                call.cancel()

    async def Exchange(  # type: ignore[override]  # noqa: N802 - grpc.aio takes a coroutine too
        self, _requests: object, context: _ExchangeContext
    ) -> None:
        """See raft.proto."""
        first = await context.read()
        if not isinstance(first, pb.ExchangeRequest):
            return
        sender_id = await self._check_greeting(first.greeting, context)
        replaced = asyncio.Event()
        if sender_id in self._inbound:
            # The peer dialled anew. What the old stream still holds would come after what the new one brings.
            self._inbound[sender_id].set()
        self._inbound[sender_id] = replaced
        ends = [asyncio.create_task(event.wait()) for event in (replaced, self._closing)]
        work = [
            asyncio.create_task(self._give_signs_of_life(context)),
            asyncio.create_task(self._take_messages(sender_id, context, replaced)),
        ]
        try:
            await asyncio.wait([*ends, *work], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*ends, *work):
                task.cancel()
            results = await asyncio.gather(*ends, *work, return_exceptions=True)
            if self._inbound.get(sender_id) is replaced:
                del self._inbound[sender_id]
        for result in results:
            if isinstance(result, wire.WireError):
                _log.error("cut the link of a peer that sent nonsense", peer=sender_id, error=str(result))
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(result))
            if isinstance(result, Exception) and not isinstance(result, grpc.aio.AbortError | grpc.RpcError):
                raise result

    async def FetchSnapshot(  # type: ignore[override]  # noqa: N802 - named by the protocol
        self, request: pb.FetchSnapshotRequest, context: _FetchContext
    ) -> None:
        """See raft.proto."""
        await self._check_greeting(request.greeting, context)
        group = self._groups.get(request.group_id)
        if group is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no Raft group {request.group_id} here")
        if self._snapshots >= _MAX_SNAPSHOTS_AT_ONCE:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many snapshots are being sent")
        assert group is not None
        try:
            position = wire.decode_position(request.position) if request.HasField("position") else None
        except wire.WireError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        self._snapshots += 1
        try:
            with group.send_snapshot(position) as parts:
                for part in parts:
                    await context.write(wire.encode_part(part))
                    # Let the loop serve others between two parts even when the peer takes them at once.
                    await asyncio.sleep(0)
        finally:
            self._snapshots -= 1

    def _greeting(self, peer_id: str) -> pb.RaftGreeting:
        return pb.RaftGreeting(
            cluster_id=self._cluster_id,
            sender_id=self._node_id,
            recipient_id=peer_id,
            protocol_version=PROTOCOL_VERSION,
        )

    async def _check_greeting(self, greeting: pb.RaftGreeting, context: _ExchangeContext | _FetchContext) -> str:
        problem = self._problem(greeting)
        if problem:
            _log.error("refused a Raft peer", peer=context.peer(), reason=problem)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, problem)
        return str(greeting.sender_id)

    def _problem(self, greeting: pb.RaftGreeting) -> str:
        if greeting.cluster_id != self._cluster_id:
            return f"this node is of cluster {self._cluster_id!r}, the caller of {greeting.cluster_id!r}"
        if greeting.recipient_id != self._node_id:
            return f"this is node {self._node_id!r}, the caller wants {greeting.recipient_id!r}"
        if greeting.sender_id not in self._links:
            return f"node {self._node_id!r} has no peer {greeting.sender_id!r}"
        if greeting.protocol_version != PROTOCOL_VERSION:
            return f"this node speaks protocol {PROTOCOL_VERSION}, the caller {greeting.protocol_version}"
        return ""

    async def _give_signs_of_life(self, context: _ExchangeContext) -> None:
        while True:
            await context.write(pb.ExchangeResponse())
            await asyncio.sleep(_SIGN_OF_LIFE_S)

    async def _take_messages(self, sender_id: str, context: _ExchangeContext, replaced: asyncio.Event) -> None:
        while isinstance(request := await context.read(), pb.ExchangeRequest):
            for message in request.messages:
                group = self._groups.get(message.group_id)
                if group is None:
                    raise wire.WireError(f"there is no Raft group {message.group_id} here")
                if replaced.is_set() or not group.receive(sender_id, wire.decode(message)):
                    return


class _Link:
    """The stream that this node dials to one peer."""

    def __init__(self, greeting: pb.RaftGreeting, peer: Peer, clock: Clock, groups: dict[int, GroupEndpoint]) -> None:
        self.peer = peer
        self._greeting = greeting
        self._clock = clock
        self._groups = groups
        self._connected = False
        self._queue: deque[tuple[int, Message]] = deque()
        self._queue_bytes = 0
        self._queued = asyncio.Event()
        self._overflowed = False

    def send(self, group_id: int, message: Message) -> None:
        if not self._connected or self._overflowed:
            return
        self._queue.append((group_id, message))
        self._queue_bytes += size_bytes(message)
        self._overflowed = self._queue_bytes > _MAX_QUEUE_BYTES
        self._queued.set()

    async def run(self) -> None:
        """Dial, and dial again, until cancelled."""
        backoff_s = _BACKOFF_MIN_S
        while True:
            error = ""
            try:
                await self._connect_once()
            except grpc.aio.AioRpcError as failure:
                error = failure.details() or failure.code().name
                if failure.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT):
                    _log.error("a peer refuses this node", peer=self.peer.id, address=self.peer.address, reason=error)
                    backoff_s = _REFUSED_BACKOFF_S
            except TimeoutError:
                error = "no sign of life"
            except (asyncio.InvalidStateError, asyncio.CancelledError):
                # gRPC raises them in who writes to, or reads from, a call that has just ended.
                if is_being_cancelled():
                    raise
                error = "the call ended"
            end_if_cancelled()
            if self._connected:
                self._disconnect(error)
                backoff_s = _BACKOFF_MIN_S
            await asyncio.sleep(self._clock.uniform(backoff_s / 2, backoff_s))
            backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)

    async def _connect_once(self) -> None:
        async with grpc.aio.insecure_channel(self.peer.address, _CHANNEL_OPTIONS) as channel:
            call = rpc.RaftServiceStub(channel).Exchange()
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await call.write(pb.ExchangeRequest(greeting=self._greeting))
                    if await call.read() is grpc.aio.EOF:
                        await _raise_status(call)
                self._connect()
                await self._converse(call)
            finally:
                call.cancel()

    async def _converse(self, call: _Exchange) -> None:
        writer = asyncio.create_task(self._write(call))
        reader = asyncio.create_task(self._read(call))
        try:
            done, _ = await asyncio.wait([writer, reader], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            writer.cancel()
            reader.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)

    async def _write(self, call: _Exchange) -> None:
        while not self._overflowed:
            await self._queued.wait()
            self._queued.clear()
            while self._queue and not self._overflowed:
                await call.write(self._next_request())
        _log.warning("cut a link whose queue is full", peer=self.peer.id, queued_bytes=self._queue_bytes)

    async def _read(self, call: _Exchange) -> None:
        while True:
            async with asyncio.timeout(_SILENCE_S):
                if await call.read() is grpc.aio.EOF:
                    await _raise_status(call)
            for group in self._groups.values():
                group.peer_heard(self.peer.id)

    def _next_request(self) -> pb.ExchangeRequest:
        request = pb.ExchangeRequest()
        request_bytes = 0
        while self._queue and (not request_bytes or request_bytes + size_bytes(self._queue[0][1]) <= _WRITE_BYTES):
            group_id, message = self._queue.popleft()
            request.messages.append(wire.encode(group_id, message))
            request_bytes += size_bytes(message)
        self._queue_bytes -= request_bytes
        return request

    def _connect(self) -> None:
        self._connected = True
        _log.info("connected to a peer", peer=self.peer.id, address=self.peer.address)
        self._tell(lambda group: group.peer_connected(self.peer.id))

    def _disconnect(self, error: str) -> None:
        self._connected = self._overflowed = False
        self._queue.clear()
        self._queue_bytes = 0
        _log.warning("lost the link to a peer", peer=self.peer.id, address=self.peer.address, error=error)
        self._tell(lambda group: group.peer_disconnected(self.peer.id))

    def _tell(self, news: Callable[[GroupEndpoint], None]) -> None:
        for group in self._groups.values():
            news(group)


async def _raise_status(call: _Exchange) -> None:
    """The peer ended the stream."""
    raise grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )
