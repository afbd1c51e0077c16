"""Calls of the node's own gRPC service: the one way through validation, forwarding and errors."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message

from raftsched.api.door.actor import ADDRESS_KEY, USER_KEY
from raftsched.net.access import WITHIN_KEY
from raftsched.net.channels import Channels
from raftsched.rest.problem import Problem, problem_of
from raftsched.rest.routes import Route

CALL_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0

Stream = grpc.aio.UnaryStreamCall[Message, Message]


@dataclass(frozen=True, slots=True)
class Caller:
    """What of an HTTP request decides how errors are told."""

    route: Route
    conditional: bool
    address: str = ""
    """Of the HTTP client."""
    user: str = ""
    """What the client says its user is called."""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What tells the service who asks."""
        given = ((ADDRESS_KEY, self.address), (USER_KEY, self.user))
        return tuple((key, value) for key, value in given if value)

    def problem(self, error: grpc.aio.AioRpcError) -> Problem:
        """The error as this caller is to see it."""
        body = "" if self.route.body == "*" else self.route.body
        return problem_of(error, is_safe=self.route.is_safe, conditional=self.conditional, body=body)


class OwnService:
    """The gRPC service of this node."""

    def __init__(self, address: str, secret: str = "") -> None:
        """``address``: host:port, or another target of gRPC. ``secret``: shows that the call is this process's own."""
        self._address = address
        self._own = ((WITHIN_KEY, secret),) if secret else ()
        self._channels = Channels()

    async def unary(self, caller: Caller, request: Message) -> Message:
        """The response. Raises Problem."""
        channel = await self._channel()
        method: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
            caller.route.rpc, type(request).SerializeToString, caller.route.new_response().FromString
        )
        try:
            return await method(request, timeout=CALL_TIMEOUT_S, metadata=(*caller.metadata(), *self._own))
        except grpc.aio.AioRpcError as error:
            raise caller.problem(error) from None

    @asynccontextmanager
    async def stream(self, caller: Caller, request: Message) -> AsyncIterator[Stream]:
        """The responses, once the rpc has begun to serve them. Raises Problem when it refuses."""
        channel = await self._channel()
        method: grpc.aio.UnaryStreamMultiCallable[Message, Message] = channel.unary_stream(
            caller.route.rpc, type(request).SerializeToString, caller.route.new_response().FromString
        )
        call = method(request, metadata=self._own)
        try:
            await self._begun(caller, call)
            yield call
        finally:
            call.cancel()

    async def _begun(self, caller: Caller, call: Stream) -> None:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await call.initial_metadata()
            if call.done() and await call.code() is not grpc.StatusCode.OK:
                await call.read()
        except grpc.aio.AioRpcError as error:
            raise caller.problem(error) from None
        except TimeoutError:
            raise Problem(504, "DEADLINE_EXCEEDED", f"no answer came within {CALL_TIMEOUT_S:g} s") from None

    async def _channel(self) -> grpc.aio.Channel:
        channel = await self._channels.ready(self._address, CONNECT_TIMEOUT_S)
        if channel is None:
            raise Problem(503, "NO_LEADER", "the node does not answer; nothing was done. Repeat the call")
        return channel

    async def close(self) -> None:
        """End all calls."""
        await self._channels.close()


def connectable(address: str) -> str:
    """The address at which this machine reaches a listener, which may listen on all of its addresses."""
    host, _, port = address.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}:{port}"


_LOOPBACK: Mapping[str, str] = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "::": "[::1]"}  # noqa: S104 - an address to compare with, not to bind
