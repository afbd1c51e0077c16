"""Runs the HTTP application in the event loop of the node."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from raftsched.hosts import Hosts
from raftsched.net.http_door import HttpDoor
from raftsched.rest.app import MAX_HEADER_BYTES, RestApp, guarded
from raftsched.rest.calls import OwnService, connectable
from raftsched.rest.connections import Connections
from raftsched.rest.problem import MEDIA_TYPE, Problem, malformed

MAX_CONNECTIONS = 2_000
HEADER_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 60
_STOP_S = 1
_BACKLOG = 512
_ACCEPTED_AT_ONCE = 4
_HTTP2_PREFACE = b"PRI * HTTP/2.0"
_TLS_HANDSHAKE = b"\x16\x03"
UI_DIRECTORY = Path(__file__).parent.parent / "ui_dist"


class ListenError(Exception):
    """The address cannot be listened on; the message says why."""


class _Protocol(H11Protocol):
    """HTTP/1.1 that does not wait for ever for the headers of a request."""

    _header_timer: asyncio.TimerHandle | None = None
    _first = b""
    """What the connection began with."""
    _admitted = False

    def __init__(self, table: Connections, door: HttpDoor | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._table = table
        self._door = door
        self._denied = ""
        """Why whoever has connected is served nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a TCP server gets no other transport
        self._admitted = self._table.admit(transport)
        if not self._admitted:
            transport.abort()
            return
        super().connection_made(transport)
        if self._door is not None:
            self._denied = self._door.problem(transport.get_extra_info("ssl_object"))
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._admitted:
            self._table.gone(self.transport)
            super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Let the connection wait for the next request, or answer the one that has come meanwhile."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._table.idle(self.transport)

    def data_received(self, data: bytes) -> None:
        if not self._first:
            self._first = data[: len(_HTTP2_PREFACE)]
            if self._first == _HTTP2_PREFACE:
                # As HTTP/1.1 it would be a request with the method PRI, and what follows another.
                self.send_400_response("")
        if self._denied and not self.transport.is_closing():
            self._end(Problem(403, "PERMISSION_DENIED", f"{self._denied}; nothing was done"))
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._table.busy(self.transport)
            self._stop_timer()
        elif self._header_timer is None:
            self._expect_headers()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what it says is for the log of uvicorn
        """Tell in words what cannot be read as HTTP/1.1, where the connection can still be written to."""
        self._end(_unreadable(sys.exception(), self._first))

    def _end(self, problem: Problem) -> None:
        """Answer with it, where the connection can still be written to, and close it."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._stop_timer()
            content = problem.text().encode()
            headers = [
                ("content-type", MEDIA_TYPE),
                ("content-length", str(len(content))),
                ("cache-control", "no-store"),
                ("connection", "close"),
            ]
            for event in (
                h11.Response(status_code=problem.status, headers=headers),
                h11.Data(data=content),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _expect_headers(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._late)

    def _late(self) -> None:
        self._header_timer = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def _unreadable(error: BaseException | None, received: bytes) -> Problem:
    """Why what was received is no request. ``received``: the beginning of it."""
    if received.startswith(_HTTP2_PREFACE):
        return malformed(
            "this port speaks HTTP/1.1: the REST API and the web interface. gRPC is served on the port of the setting "
            "`listen`, which is this one - 1000 unless `http_listen` says otherwise"
        )
    if received.startswith(_TLS_HANDSHAKE):
        return malformed("this port speaks plain HTTP/1.1, without TLS: write http://")
    hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
    if hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return Problem(431, "HEADERS_TOO_LARGE", f"request line and headers have more than {MAX_HEADER_BYTES} bytes")
    return malformed(f"this is not a request of HTTP/1.1: {error}"[:300])


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to the node, and takes connections a few at a time."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. What asyncio is told of the backlog is also how many connections it accepts before it serves any."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_BACKLOG)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RestServer:
    """The REST API, its description and the web interface on one address."""

    def __init__(
        self,
        grpc_address: str,
        version: str,
        *,
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
        ui: Path = UI_DIRECTORY,
        max_connections: int = MAX_CONNECTIONS,
        within: str = "",
        secret: str = "",
        door: HttpDoor | None = None,
    ) -> None:
        """``grpc_address``: where this node serves gRPC, which answers every call. ``hosts``: names it has too.

        ``within``: a target of the same gRPC server that this process alone knows; "": there is none.
        ``secret``: what it wants of calls there. ``door``: how connections are protected; None: not at all.

        Raises MalformedHost for one of the names.
        """
        self._service = OwnService(within or connectable(grpc_address), secret)
        self._hosts = Hosts([grpc_address], hosts)
        self._app = RestApp(self._service, version, ui)
        config = uvicorn.Config(
            guarded(self._app, self._hosts, origins),
            http=partial(_Protocol, Connections(max_connections), door),  # type: ignore[arg-type]  # called like a class
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_ACCEPTED_AT_ONCE,
            ssl_context_factory=None if door is None else lambda _config, _default: door.context(),
            timeout_keep_alive=IDLE_TIMEOUT_S,
            timeout_graceful_shutdown=_STOP_S,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        self._server = _Uvicorn(config)
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None

    def listen(self, address: str) -> int:
        """Bind host:port; the port, which the system chooses when it is 0. Raises ListenError."""
        host, _, port = address.rpartition(":")
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(where)
            self._socket.listen(_BACKLOG)
        except OSError as error:
            self._close_socket()
            raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from None
        bound = self._socket.getsockname()
        self._hosts.known_as(address)
        self._hosts.listening(bound[0])
        return int(bound[1])

    def start(self) -> None:
        """Begin to answer."""
        assert self._socket is not None, "listen comes first"
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        """End the streams, give the calls under way a second, and close the connections."""
        self._app.stopping.set()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._close_socket()
        await self._service.close()

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
