"""What the two forms of a streamed response share: waiting for messages without missing the end of the node."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import ClassVar

import grpc
from google.protobuf.message import Message
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from raftsched.rest.calls import Caller, Stream
from raftsched.rest.problem import Problem

KEEP_ALIVE_S = 15.0


class ResponseStream:
    """The responses of an rpc on their way to one HTTP client, who is waited for: a slow one slows the rpc down."""

    MEDIA_TYPE: ClassVar[str]

    def __init__(self, stream: AbstractAsyncContextManager[Stream], caller: Caller, stopping: asyncio.Event) -> None:
        self._source = stream
        self._caller = caller
        self._stopping = stopping
        self._stack = AsyncExitStack()
        self._call: Stream | None = None

    async def open(self) -> dict[str, str]:
        """Begin the call; the headers of the response. Raises Problem."""
        self._call = await self._stack.enter_async_context(self._source)
        return {}

    async def close(self) -> None:
        """End the call."""
        await self._stack.aclose()

    def nothing_left(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - for those who can tell
        """Whether the client has seen the end already."""
        return False

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body."""
        raise NotImplementedError

    async def _messages(self) -> AsyncGenerator[Message | None, None]:
        """The messages; None for each ``KEEP_ALIVE_S`` without one. Raises Problem."""
        assert self._call is not None, "the stream was not opened"
        stopped = asyncio.ensure_future(self._stopping.wait())
        reading: asyncio.Future[object] | None = None
        try:
            while True:
                reading = reading or asyncio.ensure_future(self._call.read())
                await asyncio.wait((reading, stopped), timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    message, reading = _taken(reading, self._caller), None
                    if message is None:
                        return
                    yield message
                elif stopped.done():
                    raise Problem(503, "STREAM_ENDED", "the node is stopping. Call again")
                else:
                    yield None
        finally:
            stopped.cancel()
            if reading is not None:
                reading.cancel()
                await asyncio.wait((reading,))


def _taken(reading: "asyncio.Future[object]", caller: Caller) -> Message | None:
    """The message that was read; None at the end. Raises Problem."""
    try:
        message = reading.result()
    except grpc.aio.AioRpcError as error:
        raise caller.problem(error) from None
    return message if isinstance(message, Message) else None


class StreamedResponse(StreamingResponse):
    """Sends a stream, and ends its call whatever becomes of the client."""

    def __init__(self, stream: ResponseStream, headers: Mapping[str, str]) -> None:
        self._stream = stream
        self._chunks = stream.chunks()
        super().__init__(self._chunks, 200, headers, stream.MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._chunks.aclose()
            await self._stream.close()
