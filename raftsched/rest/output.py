"""The output of an execution as it is: bytes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar

from raftsched_proto.v1.execution_pb2 import GetOutputResponse

from raftsched.rest.stream import ResponseStream

TRUNCATED_HEADER = "Raftsched-Truncated-Bytes"
_FIRST_S = 1.0


class OutputStream(ResponseStream):
    """The data of the messages, one after the other. A stream that cannot go on breaks off the connection."""

    # Never shown as anything else than text, whatever a task writes.
    MEDIA_TYPE: ClassVar[str] = "text/plain"
    _first: "asyncio.Task[GetOutputResponse | None] | None" = None

    async def open(self) -> dict[str, str]:
        """Begin the call, and tell how much is not kept, if that is known in a moment."""
        await super().open()
        self._responses = self._outputs()
        self._first = asyncio.ensure_future(self._next())
        await asyncio.wait((self._first,), timeout=_FIRST_S)
        if not self._first.done():
            return {}
        first = self._first.result()
        return {TRUNCATED_HEADER: str(max(first.truncated_bytes, first.dropped_bytes) if first else 0)}

    async def close(self) -> None:
        """End the call."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.wait((self._first,))
            await self._responses.aclose()
        await super().close()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes. Raises Problem, after which the connection must not look as if all had come."""
        assert self._first is not None, "the stream was not opened"
        message = await self._first
        while message is not None:
            yield message.data
            message = await self._next()

    async def _next(self) -> GetOutputResponse | None:
        return await anext(self._responses, None)

    async def _outputs(self) -> AsyncGenerator[GetOutputResponse, None]:
        async with aclosing(self._messages()) as messages:
            async for message in messages:
                if isinstance(message, GetOutputResponse):
                    yield message
