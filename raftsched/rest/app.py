"""The HTTP application of a node: the API below /v1, its description, and the web interface."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raftsched.hosts import Hosts
from raftsched.rest.calls import OwnService
from raftsched.rest.endpoint import Endpoint, not_allowed
from raftsched.rest.guard import HostGuard
from raftsched.rest.openapi import document
from raftsched.rest.problem import Problem, internal
from raftsched.rest.reference import page
from raftsched.rest.routes import RouteTable
from raftsched.rest.site import CSP, Site
from raftsched.rest.transcode import dump

MAX_HEADER_BYTES = 32 << 10
MAX_TARGET_BYTES = 8 << 10
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", CSP.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_EXPOSED = ("ETag", "Location", "Retry-After", "Raftsched-Truncated-Bytes")
_ACCEPTED = ("Content-Type", "If-Match", "Idempotency-Key", "Last-Event-ID")
_log = structlog.get_logger(__name__)


class RestApp:
    """An ASGI application. Every error is a problem document."""

    def __init__(self, service: OwnService, version: str, ui: Path) -> None:
        """``ui``: the directory of the built web interface."""
        table = RouteTable()
        self.stopping = asyncio.Event()
        self._endpoint = Endpoint(table, service, self.stopping)
        described = document(table, version)
        self._pages = {
            "/openapi.json": (dump(described), "application/json"),
            "/docs": (page(described).encode(), "text/html"),
        }
        self._site = Site(ui)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
            await send(message)

        request = Request(scope, receive)
        try:
            response = await self._answer(request)
            await response(scope, receive, sending)
        except Exception as error:  # the border of the process: nothing below may end a request unlogged
            if begun:
                _log.info("a response broke off", path=scope["path"], reason=str(error))
                raise
            await _told(error, scope["path"]).response()(scope, receive, sending)

    async def _answer(self, request: Request) -> Response:
        _check_size(request)
        path = request.scope["path"]
        if path == "/v1" or path.startswith("/v1/"):
            return await self._endpoint.answer(request)
        if path in self._pages:
            content, media_type = self._pages[path]
            response = Response(content, 200, {"Cache-Control": "no-cache"}, media_type)
        else:
            response = await self._site.answer(request)
        if request.method not in ("GET", "HEAD"):
            raise not_allowed(["GET"])
        return response


def _check_size(request: Request) -> None:
    if len(request.scope["raw_path"]) + len(request.scope["query_string"]) > MAX_TARGET_BYTES:
        raise Problem(414, "HEADERS_TOO_LARGE", f"path and query have more than {MAX_TARGET_BYTES} bytes")
    if sum(len(name) + len(value) for name, value in request.scope["headers"]) > MAX_HEADER_BYTES:
        raise Problem(431, "HEADERS_TOO_LARGE", f"the headers have more than {MAX_HEADER_BYTES} bytes")


def _told(error: Exception, path: str) -> Problem:
    if isinstance(error, Problem):
        return error
    _log.exception("a request failed", path=path, exc_info=error)
    return internal()


def guarded(app: ASGIApp, hosts: Hosts, origins: Sequence[str] = ()) -> ASGIApp:
    """The application as the network may see it. ``origins``: other sites whose pages may use the API."""
    if origins:
        methods = ("GET", "HEAD", "POST", "PATCH", "DELETE")
        app = CORSMiddleware(
            app, allow_origins=origins, allow_methods=methods, allow_headers=_ACCEPTED, expose_headers=_EXPOSED
        )
    return _with_headers(HostGuard(app, hosts, origins))


def _with_headers(app: ASGIApp) -> ASGIApp:
    """With the headers that every answer has."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await app(scope, receive, sending)

    return wrapped
