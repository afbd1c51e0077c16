"""What executors and clients speak over: calls and streams that are late, cut, broken, and read after their end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from tests.simulation.consensus.network import Network
from tests.simulation.consensus.world import World
from tests.simulation.system.loop import VirtualLoop

Deliver = Callable[[bytes | None], None]
"""Takes a message, or None: the other end is gone."""
GIVE_UP_S = 8.0
"""The kernel gives a connection up after so long without an acknowledgement."""


class Lines:
    """Ways between machines that are not those of the shard."""

    def __init__(self, world: World, network: Network) -> None:
        self.world = world
        self.random = world.random("lines")
        self.cuts: set[tuple[str, str]] = set()
        """Source and target: nothing gets through."""
        self.slow: set[str] = set()
        self.pipes: list[Pipe] = []
        self._network = network

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing of the one reaches the other. Between nodes that is as for the shard."""
        stream = self._network.streams.get((source, target))
        return (source, target) in self.cuts or (stream is not None and stream.cut)

    def delay(self, source: str, target: str) -> float:
        delay = self._network.delay(slow=False)
        if source in self.slow or target in self.slow:
            delay += self.random.uniform(0.0, 0.4)
        return delay

    def heal(self) -> None:
        """Let everything through again."""
        self.cuts.clear()
        self.slow.clear()
        self.flush()

    def flush(self) -> None:
        """Send on what a cut held up and no longer does."""
        for pipe in self.pipes:
            pipe.flush()


class Pipe:
    """One direction of a connection: in order, and at its end some of what was on the way is lost."""

    def __init__(self, lines: Lines, source: str, target: str, deliver: Deliver) -> None:
        self._lines = lines
        self._ends = (source, target)
        self._deliver = deliver
        self._last_arrival = lines.world.now
        self._stalled: list[bytes | None] = []
        self._on_the_way: list[list[bytes | None]] = []
        self._ended = False
        lines.pipes.append(self)

    def send(self, message: bytes | None) -> None:
        """None: this end is gone; what was sent before may still arrive."""
        if self._ended:
            return
        self._ended = message is None
        if self._stalled or self._lines.is_cut(*self._ends):
            self._stalled.append(message)
        else:
            self._travel(message)

    def flush(self) -> None:
        if self._stalled and not self._lines.is_cut(*self._ends):
            stalled, self._stalled = self._stalled, []
            for message in stalled:
                self._travel(message)

    def break_off(self, late_s: float) -> None:
        """Lose the last of what is on its way, and let the rest and the news of the end take their time."""
        if self._ended:
            return
        self._ended = True
        random, world = self._lines.random, self._lines.world
        keep = random.randint(0, len(self._on_the_way))
        for parcel in self._on_the_way[keep:]:
            parcel.clear()
        self._on_the_way = self._on_the_way[:keep]
        self._stalled.clear()
        self._last_arrival = max(self._last_arrival, world.now + random.uniform(0, late_s))
        self._travel(None)

    def _travel(self, message: bytes | None) -> None:
        world = self._lines.world
        self._last_arrival = max(self._last_arrival, world.now + self._lines.delay(*self._ends))
        parcel = [message]
        self._on_the_way.append(parcel)
        world.at(self._last_arrival, lambda: self._arrive(parcel))

    def _arrive(self, parcel: list[bytes | None]) -> None:
        if self._on_the_way and self._on_the_way[0] is parcel:
            self._on_the_way.pop(0)
        if not parcel:
            return
        if parcel[0] is None:
            self._lines.pipes.remove(self)
        self._deliver(parcel[0])


class Connection:
    """An executor's stream to a node: two pipes, a call at one end and a servicer at the other."""

    def __init__(self, lines: Lines, executor_machine: str, node_id: str) -> None:
        self.machines = (executor_machine, node_id)
        self.to_server: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.serving: asyncio.Task[None] | None = None
        self.server_loop: VirtualLoop | None = None
        self.call: StreamCall | None = None
        self._there = Pipe(lines, executor_machine, node_id, self._at_server)
        self._back = Pipe(lines, node_id, executor_machine, self._at_client)
        self._status = (grpc.StatusCode.UNAVAILABLE, "the connection broke")

    def write(self, data: bytes) -> None:
        self._there.send(data)

    def answer(self, data: bytes) -> None:
        self._back.send(data)

    def finish(self, code: grpc.StatusCode, details: str) -> None:
        """The server ends the stream."""
        self._status = (code, details)
        self._back.send(None)

    def client_gone(self) -> None:
        self._there.send(None)

    def server_gone(self) -> None:
        self._back.send(None)

    def break_off(self, late_s: float) -> None:
        self._there.break_off(late_s)
        self._back.break_off(late_s)

    def _at_server(self, data: bytes | None) -> None:
        if self.server_loop is None or self.server_loop.over:
            return
        if data is not None:
            self.to_server.put_nowait(data)
        elif self.serving is not None:
            # As grpc does it: the handler of a call that the client has left is cancelled.
            self.serving.cancel()

    def _at_client(self, data: bytes | None) -> None:
        if self.call is not None:
            self.call.take(data, self._status)


class StreamCall:
    """The executor's end, with what the agent uses of ``grpc.aio.StreamStreamCall``."""

    def __init__(self, loop: VirtualLoop, connection: Connection | None, serialise: Any, parse: Any) -> None:
        """Without a connection, nobody listens there."""
        self._loop = loop
        self._connection = connection
        self._serialise = serialise
        self._parse = parse
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._status: tuple[grpc.StatusCode, str] | None = None
        self._cancelled = False
        if connection is not None:
            connection.call = self
        else:
            loop.call_later(0.002, self.take, None, (grpc.StatusCode.UNAVAILABLE, "connection refused"))

    def take(self, data: bytes | None, status: tuple[grpc.StatusCode, str]) -> None:
        if self._loop.over or self._cancelled:
            return
        if data is None:
            self._status = status
        self._arrived.put_nowait(data)

    async def write(self, message: Any) -> None:
        if self._status is not None or self._cancelled:
            raise asyncio.InvalidStateError("the call is over")
        if self._connection is not None:
            self._connection.write(self._serialise(message))

    async def read(self) -> Any:
        if self._arrived.empty() and self._status is not None:
            self._raise_status()
        data = await self._arrived.get()
        if data is None:
            self._raise_status()
            return grpc.aio.EOF
        return self._parse(data)

    def _raise_status(self) -> None:
        assert self._status is not None
        code, details = self._status
        if code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)

    async def code(self) -> grpc.StatusCode:
        return self._status[0] if self._status else grpc.StatusCode.CANCELLED

    async def details(self) -> str:
        return self._status[1] if self._status else ""

    def cancel(self) -> bool:
        if self._loop.over or self._cancelled:
            return False
        self._cancelled = True
        if self._connection is not None:
            self._connection.client_gone()
        return True


class Channel:
    """What the agent uses of ``grpc.aio.Channel``."""

    def __init__(self, dial: Callable[[], Connection | None], loop: VirtualLoop) -> None:
        self._dial = dial
        self._loop = loop

    def stream_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: object) -> Any:
        def call(metadata: Sequence[tuple[str, str]] = ()) -> StreamCall:
            return StreamCall(self._loop, self._dial(), request_serializer, response_deserializer)

        return call

    async def close(self) -> None:
        pass


class Aborted(Exception):
    """A servicer ends a call with an error status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class ServicerContext:
    """What a servicer uses of ``grpc.aio.ServicerContext``."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: object = ()) -> None:
        raise Aborted(code, details)


async def messages(
    queue: "asyncio.Queue[bytes | None]", parse: Callable[[bytes], Any], on_read: Callable[[], None]
) -> AsyncIterator[Any]:
    """What arrives, until the end."""
    while (data := await queue.get()) is not None:
        on_read()
        yield parse(data)
