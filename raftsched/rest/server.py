"""Runs the HTTP application in the event loop of the node."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from raftsched.rest.app import MAX_HEADER_BYTES, RestApp, with_cors
from raftsched.rest.calls import OwnService

MAX_CONNECTIONS = 2_000
HEADER_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 60
_BACKLOG = 512
UI_DIRECTORY = Path(__file__).parent.parent / "ui_dist"


class ListenError(Exception):
    """The address cannot be listened on; the message says why."""


class _Protocol(H11Protocol):
    """HTTP/1.1 that does not wait for ever for the headers of a request."""

    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a TCP server gets no other transport
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._header_timer is None:
            self._expect_headers()

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


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to the node."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RestServer:
    """The REST API, its description and the web interface on one address."""

    def __init__(
        self, grpc_address: str, version: str, *, origins: Sequence[str] = (), ui: Path = UI_DIRECTORY
    ) -> None:
        """``grpc_address``: where this node serves gRPC, which answers every call."""
        self._service = OwnService(grpc_address)
        self._app = RestApp(self._service, version, ui, origins)
        config = uvicorn.Config(
            with_cors(self._app, origins),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=IDLE_TIMEOUT_S,
            timeout_graceful_shutdown=1,
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
        return int(self._socket.getsockname()[1])

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
