"""Answers the paths below /v1: finds the rpc, calls it, and shows what it says over HTTP."""

import asyncio
from urllib.parse import quote

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response

from raftsched.api.door.actor import USER_KEY
from raftsched.rest.body import Bodies
from raftsched.rest.calls import Caller, OwnService
from raftsched.rest.output import OutputStream
from raftsched.rest.problem import Problem, malformed
from raftsched.rest.routes import Route, RouteTable
from raftsched.rest.sse import EventStream, wants_events
from raftsched.rest.stream import StreamedResponse
from raftsched.rest.transcode import build_request, dump, to_json

_LARGE_BYTES = 32 << 10
"""From here on JSON is read and written in a thread, so that the event loop of the node is not held up."""


def _printable(text: str) -> str:
    """What gRPC takes as metadata."""
    return text[:100].encode("ascii", "replace").decode() if text.isprintable() else ""


class Endpoint:
    """The rpcs over HTTP."""

    def __init__(self, table: RouteTable, service: OwnService, stopping: asyncio.Event) -> None:
        self._table = table
        self._service = service
        self._stopping = stopping
        self._bodies = Bodies()

    async def answer(self, request: Request) -> Response:
        """The response. Raises Problem."""
        route, variables = self._find(request)
        caller = Caller(
            route,
            conditional="if-match" in request.headers,
            address=request.client.host if request.client else "",
            user=_printable(request.headers.get(USER_KEY, "")),
        )
        async with self._bodies.read(request, expected=bool(route.body)) as body:
            arguments = (route, variables, request.scope["query_string"], body, request.headers, self._table.outputs)
            if len(body) >= _LARGE_BYTES:
                message = await asyncio.to_thread(build_request, *arguments)
            else:
                message = build_request(*arguments)
        if route.streams:
            return await self._stream(request, caller, message)
        return await _shown(route, await self._service.unary(caller, message), created=_creates(route, message))

    def _find(self, request: Request) -> tuple[Route, dict[str, str]]:
        raw_path: bytes = request.scope["raw_path"]
        try:
            found = self._table.find(raw_path.decode("ascii"))
        except ValueError:
            raise malformed("the path is not UTF-8") from None
        verb = "GET" if request.method == "HEAD" else request.method
        for route, variables in found:
            if route.verb == verb:
                return route, variables
        if not found:
            raise Problem(404, "NOT_FOUND", "there is no such path; /docs lists those that there are")
        raise not_allowed([route.verb for route, _ in found])

    async def _stream(self, request: Request, caller: Caller, message: Message) -> Response:
        kind = EventStream if wants_events(request, caller.route) else OutputStream
        stream = kind(self._service.stream(caller, message), caller, self._stopping)
        try:
            headers = {**await stream.open(), "Cache-Control": "no-store"}
        except BaseException:
            await stream.close()
            raise
        if stream.nothing_left(request.headers):
            await stream.close()
            return Response(status_code=204)
        if request.method == "HEAD":
            await stream.close()
            return Response(None, 200, headers, kind.MEDIA_TYPE)
        return StreamedResponse(stream, headers)


def not_allowed(verbs: list[str]) -> Problem:
    """The path has other methods."""
    allowed = ", ".join(sorted([*verbs, "HEAD"] if "GET" in verbs else verbs))
    return Problem(405, "METHOD_NOT_ALLOWED", f"this path has the methods {allowed}", headers={"Allow": allowed})


def _creates(route: Route, request: Message) -> bool:
    return route.method.name.startswith("Create") and not getattr(request, "validate_only", False)


async def _shown(route: Route, message: Message, *, created: bool) -> Response:
    if not route.method.output_type.fields:
        return Response(status_code=204)
    if message.ByteSize() >= _LARGE_BYTES:
        value, content = await asyncio.to_thread(_written, route, message)
    else:
        value, content = _written(route, message)
    # The etag is that of the definition, for If-Match; state and next fire change under it: no cache may use it.
    headers = {"Cache-Control": "no-store"}
    etag = value.get("etag")
    if isinstance(etag, str) and etag:
        headers["ETag"] = f'"{etag}"'
    if created:
        return Response(content, 201, {**headers, "Location": _location(route, value)}, "application/json")
    return Response(content, 200, headers, "application/json")


def _written(route: Route, message: Message) -> tuple[dict[str, object], bytes]:
    value = to_json(route, message)
    return value, dump(value)


def _location(route: Route, value: dict[str, object]) -> str:
    return f"{route.template}/{quote(str(value.get('name', '')), safe='')}"
