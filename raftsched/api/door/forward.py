"""One call, passed on to another node as bytes."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import grpc

from raftsched.api.context import CallContext
from raftsched.api.door.actor import ADDRESS_KEY, Metadata, address_of
from raftsched.api.door.errors import no_leader, relayed
from raftsched.net.access import WITHIN_KEY
from raftsched.net.channels import Channels

HOPS_KEY = "raftsched-hops"
MAX_HOPS = 2
_CONNECT_TIMEOUT_S = 1.0
_READS = ("Get", "List", "Watch", "Preview", "Search", "Count")
_OF_THE_CONNECTION = ("grpc-", "user-agent", ":", "te", "content-type")

RawMetadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that arrived at this node."""

    method: str
    """Full path, such as /raftsched.v1.TaskService/GetTask."""
    data: bytes
    context: CallContext
    hops: int
    """How many nodes have passed it on."""
    metadata: Metadata
    """What the caller sent along."""

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing, so that it may be repeated at will."""
        return self.method.rpartition("/")[2].startswith(_READS)

    def remaining_s(self) -> float | None:
        """Seconds until the caller's deadline; None when there is none."""
        return self.context.time_remaining()


def call_of(method: str, data: bytes, context: CallContext) -> Call:
    """The call that a handler was given."""
    metadata: Metadata = dict(context.invocation_metadata() or ())
    hops = str(metadata.get(HOPS_KEY, "0"))
    return Call(method, data, context, int(hops) if hops.isdecimal() else 0, metadata)


async def forward_unary(channels: Channels, call: Call, address: str) -> bytes:
    """The response of the node at ``address``, or its error as an ApiError."""
    channel = await _connect(channels, call, address)
    unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(call.method)
    try:
        return await unary(call.data, timeout=call.remaining_s(), metadata=_metadata(call))
    except grpc.aio.AioRpcError as error:
        raise relayed(error, read=call.is_read, begun=False) from None


async def forward_stream(channels: Channels, call: Call, address: str) -> AsyncGenerator[bytes, None]:
    """The responses of the node at ``address``; the call there ends when this iterator is closed."""
    channel = await _connect(channels, call, address)
    stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(call.method)
    responses = stream(call.data, timeout=call.remaining_s(), metadata=_metadata(call))
    begun = False
    try:
        await responses.initial_metadata()
        begun = not responses.done()
        if begun:
            await call.context.send_initial_metadata(())
        async for response in responses:
            yield response
    except grpc.aio.AioRpcError as error:
        raise relayed(error, read=call.is_read, begun=begun) from None
    finally:
        responses.cancel()


async def _connect(channels: Channels, call: Call, address: str) -> grpc.aio.Channel:
    """Connect before anything is sent, so that a failure up to here is certainly harmless."""
    remaining_s = call.remaining_s()
    timeout_s = _CONNECT_TIMEOUT_S if remaining_s is None else min(_CONNECT_TIMEOUT_S, remaining_s)
    channel = await channels.ready(address, timeout_s)
    if channel is None:
        raise no_leader(f"the leader at {address} cannot be reached from this node; nothing was done. Repeat the call")
    return channel


def _metadata(call: Call) -> RawMetadata:
    sent = tuple(call.context.invocation_metadata() or ())
    kept = tuple(
        (key, value)
        for key, value in sent
        if not key.startswith((*_OF_THE_CONNECTION, HOPS_KEY, ADDRESS_KEY, WITHIN_KEY))
    )
    address = address_of(call.metadata, call.context.peer())
    return (*kept, (HOPS_KEY, str(call.hops + 1)), (ADDRESS_KEY, address))
