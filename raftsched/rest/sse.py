"""Server-sent events (the HTML standard, section 9.2): how the rpcs that stream are watched over HTTP.

The events: ``begin`` when nothing is missed from then on, one event without a name for each message, ``end`` when
nothing follows, ``problem`` when the stream cannot go on. A client that reconnects is told by the next ``begin`` that
it may have missed something; one that has seen ``end`` is told by 204 to stop.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import ClassVar

from starlette.requests import Request

from raftsched.rest.problem import Problem
from raftsched.rest.routes import Route
from raftsched.rest.stream import ResponseStream
from raftsched.rest.transcode import dump, message_json

EVENTS = "text/event-stream"
RETRY_MS = 1_000
_END = "end"


def wants_events(request: Request, route: Route) -> bool:
    """Whether the responses go out as events: on demand, and wherever they are not plain bytes."""
    return EVENTS in request.headers.get("accept", "") or "data" not in route.response.fields_by_name


class EventStream(ResponseStream):
    """Each message as an event."""

    MEDIA_TYPE: ClassVar[str] = EVENTS

    def nothing_left(self, headers: Mapping[str, str]) -> bool:
        """Whether the client reconnects after the end."""
        return headers.get("last-event-id") == _END

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The events, numbered from 1 in each stream."""
        yield f"retry: {RETRY_MS}\nevent: begin\ndata: {{}}\n\n".encode()
        number = 0
        try:
            async with aclosing(self._messages()) as messages:
                async for message in messages:
                    if message is None:
                        yield b": keep-alive\n\n"
                        continue
                    number += 1
                    yield b"id: %d\ndata: %b\n\n" % (number, dump(message_json(message)))
        except Problem as problem:
            yield f"event: problem\ndata: {problem.text()}\n\n".encode()
        else:
            yield f"id: {_END}\nevent: end\ndata: {{}}\n\n".encode()
