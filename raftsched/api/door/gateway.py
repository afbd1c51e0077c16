"""What every public call passes: a bound, the way to the leader, and the mapping of errors. One place for all rpcs."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, cast

import grpc
import structlog
from google.protobuf.message import Message
from raftsched_proto.v1 import consistency_pb2

from raftsched.api.context import ApiContext, CallContext
from raftsched.api.door.actor import ACTOR, actor_of
from raftsched.api.door.errors import ApiError, abort, internal, not_leader, overloaded, refusal, unknown_field
from raftsched.api.door.forward import MAX_HOPS, Call, call_of, forward_stream, forward_unary
from raftsched.api.door.patience import LeaderWatch, Patience
from raftsched.api.door.reach import nobody_leads
from raftsched.api.door.requests import read_request
from raftsched.definitions.violations import Invalid

LEADER_KEY = "raftsched-leader"
"""Tells a client in the trailing metadata that its call was passed on, and to whom."""
_PUBLIC = "/raftsched.v1."
_LOCAL = frozenset({"/raftsched.v1.ClusterService/GetStatus", "/raftsched.v1.TaskService/PreviewSchedule"})
"""Answered by the node that is asked, leader or not."""
_HISTORY = "/raftsched.v1.HistoryService/"
"""Answered from the index of the node that is asked."""
MAX_CALLS = 1_000
MAX_STREAMS = 400

_log = structlog.get_logger(__name__)

# grpc types a handler by its messages; here one is told from another at run time.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@dataclass(frozen=True, slots=True)
class _Method:
    """A method as the servicer implements it."""

    path: str
    parse: Callable[[bytes], Message]
    serialise: Callable[[Message], bytes]
    unary: Callable[[Message, CallContext], Awaitable[Message]]
    stream: Callable[[Message, CallContext], AsyncIterator[Message]]


def _method(path: str, handler: Handler) -> _Method:
    return _Method(
        path,
        cast(Callable[[bytes], Message], handler.request_deserializer),
        cast(Callable[[Message], bytes], handler.response_serializer),
        cast(Callable[[Message, CallContext], Awaitable[Message]], handler.unary_unary),
        cast(Callable[[Message, CallContext], AsyncIterator[Message]], handler.unary_stream),
    )


class Gateway(grpc.aio.ServerInterceptor):
    """Answers calls here when this node leads or the call does not ask for a leader, and forwards the others."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._elections = LeaderWatch(api)
        self._handlers: dict[str, Handler] = {}
        self._calls = _Bound(MAX_CALLS, "calls are under way at this node")
        self._streams = _Bound(MAX_STREAMS, "streams are open at this node")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """The handler of a public method in the wraps of this class; those of other services as they are."""
        path = handler_call_details.method
        if not path.startswith(_PUBLIC):
            return await continuation(handler_call_details)
        if path not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            method = _method(path, handler)
            self._handlers[path] = self._stream(method) if handler.response_streaming else self._unary(method)
        return self._handlers[path]

    def _unary(self, method: _Method) -> Handler:
        async def handle(data: bytes, context: CallContext) -> bytes:
            try:
                with self._calls:
                    call = call_of(method.path, data, context)
                    ACTOR.set(actor_of(call.metadata, context.peer()))
                    return await self._answer(method, call)
            except Exception as error:  # noqa: BLE001 - the border of the process: nothing below may end a call unlogged
                await _end(context, method.path, error)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _stream(self, method: _Method) -> Handler:
        async def handle(data: bytes, context: CallContext) -> AsyncIterator[bytes]:
            try:
                with self._streams:
                    async with aclosing(self._answers(method, call_of(method.path, data, context))) as responses:
                        async for response in responses:
                            yield response
            except Exception as error:  # noqa: BLE001 - the border of the process: no stream may end unlogged either
                await _end(context, method.path, error)

        return grpc.unary_stream_rpc_method_handler(handle)

    async def _answer(self, method: _Method, call: Call) -> bytes:
        request, unknown = await read_request(method.path, call.data, method.parse)
        patience = Patience(self._elections, call)
        while True:
            try:
                address = self._route(call, request)
                if address:
                    response = await forward_unary(self._api.channels, call, address)
                    call.context.set_trailing_metadata(((LEADER_KEY, address),))
                    return response
                self._refuse(unknown)
                return method.serialise(await method.unary(request, call.context))
            except ApiError as error:
                await patience.wait(error)

    async def _answers(self, method: _Method, call: Call) -> AsyncGenerator[bytes, None]:
        request, unknown = await read_request(method.path, call.data, method.parse)
        patience = Patience(self._elections, call)
        while True:
            answered = False
            try:
                address = self._route(call, request)
                if not address:
                    self._refuse(unknown)
                source = (
                    forward_stream(self._api.channels, call, address)
                    if address
                    else _serialised(method, method.stream(request, call.context))
                )
                async with aclosing(source) as responses:
                    async for response in responses:
                        answered = True
                        yield response
                return
            except ApiError as error:
                if answered:
                    raise
                await patience.wait(error)

    def _refuse(self, unknown: str) -> None:
        """Raises ApiError: a field is not known here. The node that it is passed on to may know it."""
        if unknown:
            raise unknown_field(unknown, self._api.version)

    def _route(self, call: Call, request: Message) -> str:
        """Where the call is answered: the leader's address, or "" for here. Raises ApiError when nobody can."""
        if call.method in _LOCAL or call.method.startswith(_HISTORY) or self._api.leads():
            return ""
        if getattr(request, "consistency", None) == consistency_pb2.CONSISTENCY_STALE:
            return ""
        address = self._api.leader_address()
        if not address:
            raise nobody_leads(self._api)
        if call.hops >= MAX_HOPS or address == self._api.members.address(self._api.node_id):
            raise not_leader(address)
        return address


class _Bound:
    """A number of places; whoever enters holds one, and whoever finds none is refused."""

    def __init__(self, places: int, full: str) -> None:
        self._free = places
        self._full = f"{places} {full}"

    def __enter__(self) -> None:
        """Raises ApiError (RESOURCE_EXHAUSTED) when there is no place."""
        if not self._free:
            raise overloaded(self._full)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


async def _end(context: CallContext, path: str, error: Exception) -> NoReturn:
    """End the call with the status that an error stands for; what nobody foresaw is logged and told to nobody."""
    if isinstance(error, ApiError | Invalid):
        await abort(context, refusal(error))
    if isinstance(error, grpc.aio.BaseError):
        raise error
    _log.error("a call failed", method=path, exc_info=error)
    await abort(context, internal())


async def _serialised(method: _Method, responses: AsyncIterator[Message]) -> AsyncGenerator[bytes, None]:
    async for response in responses:
        yield method.serialise(response)
