"""Raft messages over gRPC: one long-lived stream from each node to each other node, for all shards.

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
from raftsched_proto.internal.v1 import raft_pb2 as pb
from raftsched_proto.internal.v1 import raft_pb2_grpc as rpc

from raftsched.cancellation import end_if_cancelled, is_being_cancelled
from raftsched.consensus import wire
from raftsched.consensus.directory import UNMARKED, Card, decode_card, encode_card
from raftsched.consensus.messages import Message, size_bytes
from raftsched.consensus.protocol import PROTOCOLS, Protocols, protocols_of, put_protocols
from raftsched.consensus.settings import MAX_COMMAND_BYTES, MIB
from raftsched.consensus.snapshot import SnapshotPart, SnapshotPosition
from raftsched.core.backoff import Backoff, Retries
from raftsched.net.access import node_problem
from raftsched.net.dial import PLAIN, Network
from raftsched.ports import Clock, MemberList, Peer

MAX_REQUEST_BYTES = MAX_COMMAND_BYTES + 4 * MIB
"""No request is larger: the server that carries the service must accept so many bytes."""

_MAX_QUEUE_BYTES = 64 * MIB
_WRITE_BYTES = 1 * MIB
_SIGN_OF_LIFE_S = 0.5
_SILENCE_S = 2.5
_FAREWELL_S = 15.0
_CONNECT_S = 1.0
_ASK_CLOCK_S = 1.0
_MAX_QUESTIONS = 8
_MAX_WALL_US = 1 << 62
_REDIAL = Backoff(low_s=0.05, high_s=0.25)
_REDIAL_REFUSED = Backoff(low_s=2.0, high_s=2.0)
_MAX_SNAPSHOTS_AT_ONCE = 4
_SNAPSHOT_STALL_S = 5.0
_REFUSALS = (
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
)
_CHANNEL_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.enable_retries", 0),
]

_ExchangeContext = grpc.aio.ServicerContext[pb.ExchangeRequest, pb.ExchangeResponse]
_FetchContext = grpc.aio.ServicerContext[pb.FetchSnapshotRequest, pb.FetchSnapshotResponse]
_Exchange = grpc.aio.StreamStreamCall[pb.ExchangeRequest, pb.ExchangeResponse]

_log = structlog.get_logger(__name__)


class ShardEndpoint(Protocol):
    """One shard, as the transport sees it. All calls return at once."""

    def receive(self, peer_id: str, message: Message, card: Card) -> bool:
        """Take a message of the directory that the card is of; False: the link shall be cut."""

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


class Door(Protocol):
    """Who may talk to this node, by the data directories that are shown. All calls return at once."""

    def card(self) -> Card:
        """What this node shows."""

    def known(self, peer_id: str) -> Card | None:
        """What is remembered of the peer's directory."""

    def examine(self, peer_id: str, card: Card, live: Card | None) -> str:
        """Why a peer is refused, "" when it is not; ``live`` is the card of a stream of it that is still there."""

    def foreign(self, peer_id: str, card: Card) -> str:
        """What to tell a peer whose cluster was founded apart; "" when it was not."""

    def answered(self, peer_id: str, card: Card, known: Card | None) -> None:
        """What a peer that was greeted shows, and what it remembers of this node's directory."""


class _OpenDoor:
    """Until somebody cares: directories are not told apart."""

    def card(self) -> Card:
        return UNMARKED

    def known(self, _peer_id: str) -> Card | None:
        return None

    def examine(self, _peer_id: str, _card: Card, _live: Card | None) -> str:
        return ""

    def foreign(self, _peer_id: str, _card: Card) -> str:
        return ""

    def answered(self, _peer_id: str, _card: Card, _known: Card | None) -> None:
        pass


class _Inbound:
    """A stream that a peer has dialled."""

    def __init__(self, card: Card, context: _ExchangeContext) -> None:
        self.card = card
        self.context = context
        self.replaced = asyncio.Event()


class RaftTransport(rpc.RaftServiceServicer):
    """The links of one node to its peers. Belongs to one event loop."""

    def __init__(
        self,
        *,
        cluster_id: str,
        node: Peer,
        members: MemberList,
        clock: Clock,
        protocols: Protocols = PROTOCOLS,
        network: Network = PLAIN,
    ) -> None:
        """Links go to all ``members`` but this ``node``, also to those that join later."""
        self._protocols = protocols
        self._network = network
        self.on_clock: Callable[[str, int, float], None] = _ignore_clock
        """Takes what a peer's wall clock showed, in microseconds since the Unix epoch, and when it was asked."""
        self._cluster_id = cluster_id
        self._node_id = node.id
        self._shards: dict[int, ShardEndpoint] = {}
        self.door: Door = _OpenDoor()
        """Set before ``start``."""
        self._closing = asyncio.Event()
        self._links: dict[str, _Link] = {}
        self._inbound: dict[str, _Inbound] = {}
        self._clock = clock
        self._snapshots = 0
        self._broken: asyncio.Future[None] | None = None
        """Gets what ends a link that should go on; None before ``start``."""
        self._members = members
        members.subscribe(self._follow_members)
        self._follow_members()

    def add_shard(self, shard_id: int, endpoint: ShardEndpoint) -> None:
        """Carry the messages of a shard. All shards are added before ``start``."""
        self._shards[shard_id] = endpoint

    def add_to_server(self, server: grpc.aio.Server) -> None:
        """Serve the peers. The server must accept requests of ``MAX_REQUEST_BYTES``."""
        rpc.add_RaftServiceServicer_to_server(self, server)

    def start(self) -> None:
        """Begin to dial."""
        self._broken = asyncio.get_running_loop().create_future()
        for link in self._links.values():
            self._dial(link)

    def greet_again(self) -> None:
        """This node shows another directory than before: dial all peers anew."""
        for link in self._links.values():
            link.cut()

    async def watch(self) -> None:
        """Wait until cancelled. Raises what ended a link, which only a defect of ours can."""
        assert self._broken is not None, "start comes first"
        await self._broken

    async def close(self) -> None:
        """Hang up on all peers. The server is the caller's to stop."""
        self._closing.set()
        tasks = [link.task for link in self._links.values() if link.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def send(self, shard_id: int, peer_id: str, message: Message) -> None:
        """Queue a message. It is lost when there is no link or it is down; a link whose queue is full is cut."""
        link = self._links.get(peer_id)
        if link is not None:
            link.send(shard_id, message)

    async def fetch_snapshot(
        self, shard_id: int, peer_id: str, position: SnapshotPosition | None = None
    ) -> AsyncGenerator[SnapshotPart, None]:
        """The parts of a peer's snapshot, behind the position if the peer still knows it.

        Raises ConnectionError: the peer cannot be reached, refuses, or sends what makes no sense.
        """
        link = self._links.get(peer_id)
        if link is None:
            raise ConnectionError(f"{peer_id} gives no snapshot: this node does not know it")
        request = pb.FetchSnapshotRequest(greeting=self._greeting(peer_id), shard_id=shard_id)
        if position is not None:
            request.position.CopyFrom(wire.encode_position(position))
        async with self._network.dial(link.peer.address, _CHANNEL_OPTIONS) as channel:
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
        answer, inbound = self._answer(sender_id), _Inbound(decode_card(first.greeting.directory), context)
        live = self._inbound.get(sender_id)
        if live is not None and live.context.done():
            live = None
        problem = self.door.examine(sender_id, inbound.card, None if live is None else live.card)
        if problem:
            # Also to who is refused: it may learn from the answer why.
            answer.refused = True
            await context.write(answer)
            await self._refuse(problem, context)
        if live is not None:
            # The peer dialled anew. What the old stream still holds would come after what the new one brings.
            live.replaced.set()
        self._inbound[sender_id] = inbound
        questions = _Questions()
        ends = [asyncio.create_task(event.wait()) for event in (inbound.replaced, self._closing)]
        work = [
            asyncio.create_task(self._give_signs_of_life(answer, context, questions)),
            asyncio.create_task(self._take_messages(sender_id, context, inbound, questions)),
        ]
        try:
            await asyncio.wait([*ends, *work], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Before anything that is awaited, for a call that ends may cancel twice: it would be taken for a live one.
            if self._inbound.get(sender_id) is inbound:
                del self._inbound[sender_id]
            for task in (*ends, *work):
                task.cancel()
            results = await asyncio.gather(*ends, *work, return_exceptions=True)
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
        sender_id = await self._check_greeting(request.greeting, context)
        foreign = self.door.foreign(sender_id, decode_card(request.greeting.directory))
        if foreign:
            await self._refuse(foreign, context)
        shard = self._shards.get(request.shard_id)
        if shard is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no shard {request.shard_id} here")
        if self._snapshots >= _MAX_SNAPSHOTS_AT_ONCE:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many snapshots are being sent")
        assert shard is not None
        try:
            position = wire.decode_position(request.position) if request.HasField("position") else None
        except wire.WireError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        self._snapshots += 1
        try:
            with shard.send_snapshot(position) as parts:
                for part in parts:
                    await context.write(wire.encode_part(part))
                    # Let the loop serve others between two parts even when the peer takes them at once.
                    await asyncio.sleep(0)
        finally:
            self._snapshots -= 1

    def _follow_members(self) -> None:
        """Have a link to each; who has left is not hung up on at once, so that it hears of it."""
        others = self._members.others(self._node_id)
        for peer in others:
            link = self._links.get(peer.id)
            if link is None:
                self._open(peer)
            elif link.peer != peer:
                self._hang_up(link)
        for peer_id in self._links.keys() - {peer.id for peer in others}:
            if self._broken is not None:
                asyncio.get_running_loop().call_later(_FAREWELL_S, self._part_from, peer_id)

    def _open(self, peer: Peer) -> None:
        link = _Link(self._greeting, peer, self._clock, self._shards, self._answered, self._told_clock, self._network)
        self._links[peer.id] = link
        if self._broken is not None:
            self._dial(link)

    def _dial(self, link: "_Link") -> None:
        link.task = asyncio.create_task(link.run(), name=f"raft link {link.peer.id}")
        link.task.add_done_callback(lambda task: self._ended(link, task))

    def _part_from(self, peer_id: str) -> None:
        """It may have come back meanwhile."""
        link = self._links.get(peer_id)
        if link is not None and not self._members.address(peer_id):
            self._hang_up(link)
            if peer_id in self._inbound:
                self._inbound[peer_id].replaced.set()

    def _hang_up(self, link: "_Link") -> None:
        """It is forgotten when it has ended, and another is opened if its peer has another address only."""
        if link.task is not None:
            link.task.cancel()

    def _ended(self, link: "_Link", task: asyncio.Task[None]) -> None:
        if self._closing.is_set():
            return
        if not task.cancelled() and (error := task.exception()) is not None:
            if self._broken is not None and not self._broken.done():
                self._broken.set_exception(error)
            return
        link.hung_up()
        del self._links[link.peer.id]
        self._follow_members()

    def _told_clock(self, peer_id: str, wall_us: int, asked_at_s: float) -> None:
        self.on_clock(peer_id, wall_us, asked_at_s)

    def _greeting(self, peer_id: str) -> pb.RaftGreeting:
        greeting = pb.RaftGreeting(
            cluster_id=self._cluster_id,
            sender_id=self._node_id,
            recipient_id=peer_id,
            directory=encode_card(self.door.card()),
        )
        put_protocols(greeting, self._protocols)
        return greeting

    def _answer(self, peer_id: str) -> pb.ExchangeResponse:
        """What a peer that dials gets first."""
        answer = pb.ExchangeResponse(greeting=self._greeting(peer_id))
        known = self.door.known(peer_id)
        if known is not None:
            answer.known.CopyFrom(encode_card(known))
        return answer

    def _answered(self, peer_id: str, answer: pb.ExchangeResponse) -> None:
        if answer.HasField("greeting"):
            known = decode_card(answer.known) if answer.HasField("known") else None
            self.door.answered(peer_id, decode_card(answer.greeting.directory), known)

    async def _check_greeting(self, greeting: pb.RaftGreeting, context: _ExchangeContext | _FetchContext) -> str:
        problem = self._problem(greeting)
        if stranger := node_problem(greeting.sender_id):
            _log.error("refused a Raft peer", peer=context.peer(), says_it_is=greeting.sender_id, reason=stranger)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, stranger)
        if problem:
            await self._refuse(problem, context)
        return str(greeting.sender_id)

    async def _refuse(self, problem: str, context: _ExchangeContext | _FetchContext) -> None:
        _log.error("refused a Raft peer", peer=context.peer(), reason=problem)
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, problem)

    def _problem(self, greeting: pb.RaftGreeting) -> str:
        if greeting.cluster_id != self._cluster_id:
            return f"this node is of cluster {self._cluster_id!r}, the caller of {greeting.cluster_id!r}"
        if greeting.recipient_id != self._node_id:
            return f"this is node {self._node_id!r}, the caller wants {greeting.recipient_id!r}"
        if greeting.sender_id not in self._links:
            return f"node {self._node_id!r} has no peer {greeting.sender_id!r}"
        spoken = protocols_of(greeting)
        if not self._protocols.common(spoken):
            return f"this node speaks {self._protocols}, the caller {spoken}: upgrade the older one"
        return ""

    async def _give_signs_of_life(
        self, answer: pb.ExchangeResponse, context: _ExchangeContext, questions: "_Questions"
    ) -> None:
        while True:
            number = questions.take()
            if number:
                answer.clock_question, answer.wall_us = number, self._clock.now_us()
            await context.write(answer)
            answer = pb.ExchangeResponse()
            await questions.wait(_SIGN_OF_LIFE_S)

    async def _take_messages(
        self, sender_id: str, context: _ExchangeContext, inbound: _Inbound, questions: "_Questions"
    ) -> None:
        while isinstance(request := await context.read(), pb.ExchangeRequest):
            if request.clock_question:
                questions.ask(request.clock_question)
            for message in request.messages:
                shard = self._shards.get(message.shard_id)
                if shard is None:
                    raise wire.WireError(f"there is no shard {message.shard_id} here")
                if inbound.replaced.is_set() or not shard.receive(sender_id, wire.decode(message), inbound.card):
                    return


class _Questions:
    """The last question about this node's clock that a peer has asked and that is not answered."""

    def __init__(self) -> None:
        self._number = 0
        self._asked = asyncio.Event()

    def ask(self, number: int) -> None:
        self._number = number
        self._asked.set()

    def take(self) -> int:
        """Its number; 0: there is none."""
        number, self._number = self._number, 0
        self._asked.clear()
        return number

    async def wait(self, longest_s: float) -> None:
        """Until there is one, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._asked.wait()


class _Link:
    """The stream that this node dials to one peer."""

    def __init__(
        self,
        greeting: Callable[[str], pb.RaftGreeting],
        peer: Peer,
        clock: Clock,
        shards: dict[int, ShardEndpoint],
        answered: Callable[[str, pb.ExchangeResponse], None],
        told_clock: Callable[[str, int, float], None],
        network: Network,
    ) -> None:
        self.peer = peer
        self.task: asyncio.Task[None] | None = None
        """Runs it."""
        self._network = network
        self._answered = answered
        self._told_clock = told_clock
        self._questions = 0
        self._asked: deque[tuple[int, float]] = deque(maxlen=_MAX_QUESTIONS)
        """The last questions about the peer's clock that are not answered, and when each left."""
        self._asks_at_s = float("-inf")
        self._greeting = greeting
        self._clock = clock
        self._retries = Retries(_REDIAL, clock)
        self._shards = shards
        self._connected = False
        self._queue: deque[tuple[int, Message]] = deque()
        self._queue_bytes = 0
        self._queued = asyncio.Event()
        self._overflowed = False
        self._cut = asyncio.Event()

    def hung_up(self) -> None:
        """It runs no more."""
        if self._connected:
            self._disconnect("this node has hung up")

    def cut(self) -> None:
        """End the stream; the next one greets anew."""
        self._cut.set()

    def send(self, shard_id: int, message: Message) -> None:
        if not self._connected or self._overflowed:
            return
        self._queue.append((shard_id, message))
        self._queue_bytes += size_bytes(message)
        self._overflowed = self._queue_bytes > _MAX_QUEUE_BYTES
        self._queued.set()

    async def run(self) -> None:
        """Dial, and dial again, until cancelled."""
        while True:
            error, refused = "", False
            try:
                await self._connect_once()
            except grpc.aio.AioRpcError as failure:
                error = failure.details() or failure.code().name
                if failure.code() in _REFUSALS:
                    _log.error("a peer refuses this node", peer=self.peer.id, address=self.peer.address, reason=error)
                    refused = True
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
            wait_s = self._retries.failed()
            await asyncio.sleep(_REDIAL_REFUSED.wait_s(1, self._clock) if refused else wait_s)

    async def _connect_once(self) -> None:
        self._cut.clear()
        async with self._network.dial(self.peer.address, _CHANNEL_OPTIONS) as channel:
            call = rpc.RaftServiceStub(channel).Exchange()
            own = self._greeting(self.peer.id)
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await call.write(pb.ExchangeRequest(greeting=own))
                    answer = await call.read()
                if isinstance(answer, pb.ExchangeResponse):
                    self._answered(self.peer.id, answer)
                if not isinstance(answer, pb.ExchangeResponse) or answer.refused:
                    await _raise_status(call)
                    return
                self._connect(protocols_of(own).common(protocols_of(answer.greeting)))
                await self._converse(call)
            finally:
                call.cancel()

    async def _converse(self, call: _Exchange) -> None:
        tasks = [asyncio.create_task(work) for work in (self._write(call), self._read(call), self._until_cut())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_cut(self) -> None:
        await self._cut.wait()

    async def _write(self, call: _Exchange) -> None:
        self._asked.clear()
        self._asks_at_s = float("-inf")
        while not self._overflowed:
            await self._wait_for_something_to_say()
            self._queued.clear()
            while (self._queue or self._asks_now()) and not self._overflowed:
                await call.write(self._next_request())
        _log.warning("cut a link whose queue is full", peer=self.peer.id, queued_bytes=self._queue_bytes)

    async def _wait_for_something_to_say(self) -> None:
        """A message, or that the peer's clock is to be asked again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._asks_at_s - self._clock.monotonic())):
                await self._queued.wait()

    def _asks_now(self) -> bool:
        return self._clock.monotonic() >= self._asks_at_s

    def _ask_clock(self, request: pb.ExchangeRequest) -> None:
        now_s = self._clock.monotonic()
        self._asks_at_s = now_s + _ASK_CLOCK_S
        self._questions += 1
        request.clock_question = self._questions
        self._asked.append((self._questions, now_s))

    def _take_clock(self, response: pb.ExchangeResponse) -> None:
        while self._asked and self._asked[0][0] <= response.clock_question:
            number, asked_at_s = self._asked.popleft()
            if number == response.clock_question and 0 < response.wall_us < _MAX_WALL_US:
                self._told_clock(self.peer.id, response.wall_us, asked_at_s)

    async def _read(self, call: _Exchange) -> None:
        while True:
            async with asyncio.timeout(_SILENCE_S):
                response = await call.read()
            if not isinstance(response, pb.ExchangeResponse):
                await _raise_status(call)
                return
            if response.clock_question:
                self._take_clock(response)
            for shard in self._shards.values():
                shard.peer_heard(self.peer.id)

    def _next_request(self) -> pb.ExchangeRequest:
        request = pb.ExchangeRequest()
        if self._asks_now():
            self._ask_clock(request)
        request_bytes = 0
        while self._queue and (not request_bytes or request_bytes + size_bytes(self._queue[0][1]) <= _WRITE_BYTES):
            shard_id, message = self._queue.popleft()
            request.messages.append(wire.encode(shard_id, message))
            request_bytes += size_bytes(message)
        self._queue_bytes -= request_bytes
        return request

    def _connect(self, protocol: int) -> None:
        self._connected = True
        self._retries.began()
        _log.info("connected to a peer", peer=self.peer.id, address=self.peer.address, protocol=protocol)
        self._tell(lambda shard: shard.peer_connected(self.peer.id))

    def _disconnect(self, error: str) -> None:
        self._connected = self._overflowed = False
        self._queue.clear()
        self._queue_bytes = 0
        _log.warning("lost the link to a peer", peer=self.peer.id, address=self.peer.address, error=error)
        self._tell(lambda shard: shard.peer_disconnected(self.peer.id))

    def _tell(self, news: Callable[[ShardEndpoint], None]) -> None:
        for shard in self._shards.values():
            news(shard)


def _ignore_clock(_peer_id: str, _wall_us: int, _asked_at_s: float) -> None:
    """Until somebody cares."""


async def _raise_status(call: _Exchange) -> None:
    """The peer ended the stream."""
    raise grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )
