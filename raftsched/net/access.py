"""Who may call what, where callers show certificates: one table for all rpcs, and the one place that looks at it."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from hmac import compare_digest
from typing import Any, TypeAlias

import grpc
import structlog

from raftsched.net.identity import NoIdentity, PeerIdentity, PeerRole, identity_among, is_of

_log = structlog.get_logger(__name__)

WITHIN_KEY = "raftsched-within"
"""Metadata of a call that a node makes to itself, with what only it knows."""
_INTERNAL = "/raftsched.internal.v1."
_NODES = frozenset({PeerRole.NODE})
_EXECUTORS = frozenset({PeerRole.NODE, PeerRole.EXECUTOR})
_USERS = frozenset({PeerRole.NODE, PeerRole.CLIENT})
INTERNAL_RIGHTS = {
    f"{_INTERNAL}RaftService/Exchange": _NODES,
    f"{_INTERNAL}RaftService/FetchSnapshot": _NODES,
    f"{_INTERNAL}StateCheckService/GetDigest": _NODES,
    f"{_INTERNAL}OutputCopyService/FetchOutput": _NODES,
    # The executor that is part of a node shows the certificate of the node.
    f"{_INTERNAL}OutputCopyService/PutOutput": _EXECUTORS,
    f"{_INTERNAL}ExecutorService/Connect": _EXECUTORS,
}
_PUBLIC_RIGHTS = {
    "/raftsched.v1.": _USERS,
    "/grpc.reflection.": _USERS,
    "/grpc.health.v1.": frozenset(PeerRole),
}
_NOBODY: frozenset[PeerRole] = frozenset()
CALLER: ContextVar[PeerIdentity | None] = ContextVar("caller", default=None)
"""Whose call is served; None: nobody has shown a certificate, as where TLS is off."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Function: TypeAlias = Callable[[Any, Context], Any]


class Denied(Exception):
    """A call is refused; the message is for the caller, ``reason`` for the log."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def roles_for(method: str) -> frozenset[PeerRole]:
    """Who may call it, by the full path of the rpc; nobody what no table names."""
    if method.startswith(_INTERNAL):
        return INTERNAL_RIGHTS.get(method, _NOBODY)
    return next((roles for prefix, roles in _PUBLIC_RIGHTS.items() if method.startswith(prefix)), _NOBODY)


def admitted(uris: list[str], cluster: str, roles: frozenset[PeerRole]) -> PeerIdentity:
    """The caller, by the URIs of a certificate that was verified. Raises Denied."""
    try:
        identity = identity_among(uris)
    except NoIdentity as error:
        raise Denied("the certificate names no identity of raftsched", str(error)) from None
    if identity.cluster != cluster:
        raise Denied("the certificate is of another cluster", f"it is of {identity}")
    if identity.role not in roles:
        raise Denied(f"a certificate of the role {identity.role.value} may not do this", f"it is of {identity}")
    return identity


def node_problem(node_id: str) -> str:
    """Why whoever calls is not that node; "" when it is, or when nobody shows certificates."""
    caller = CALLER.get()
    if caller is None or (caller.role is PeerRole.NODE and caller.id == node_id):
        return ""
    return "the certificate is of another node"


def executor_problem(executor_id: str, node_id: str) -> str:
    """As ``node_problem``, of an executor that says it belongs to that node ("": to none)."""
    caller = CALLER.get()
    if caller is None:
        return ""
    own_node = caller.id if caller.role is PeerRole.NODE else ""
    if node_id != own_node:
        return "the certificate is not of the node that the executor says it belongs to"
    return "" if is_of(executor_id, caller) else "the certificate is of another executor"


class AccessGate(grpc.aio.ServerInterceptor):
    """Lets calls pass by the table. Comes before all other interceptors."""

    def __init__(self, cluster: str, within: str) -> None:
        """``within``: the secret that the node sends along when it calls itself in plain text."""
        self._cluster = cluster
        self._within = within
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """The handler of a method behind the check of who calls."""
        path = handler_call_details.method
        if path not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[path] = self._guarded(path, handler)
        return self._handlers[path]

    def _guarded(self, path: str, handler: Handler) -> Handler:
        kinds = {
            (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
            (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
            (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
            (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
        }
        name, made = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
        function: _Function = getattr(handler, name)
        return made(self._checked(path, function), handler.request_deserializer, handler.response_serializer)

    def _checked(self, path: str, function: _Function) -> _Function:
        roles = roles_for(path)
        if inspect.isasyncgenfunction(function):

            async def stream(request: object, context: Context) -> AsyncIterator[object]:
                await self._check(path, roles, context)
                responses: AsyncGenerator[object, None] = function(request, context)
                async with aclosing(responses):
                    async for response in responses:
                        yield response

            return stream

        async def call(request: object, context: Context) -> object:
            await self._check(path, roles, context)
            return await function(request, context)

        return call

    async def _check(self, path: str, roles: frozenset[PeerRole], context: Context) -> None:
        shown = context.auth_context()
        try:
            CALLER.set(self._caller(roles, shown, context))
        except Denied as error:
            _log.warning("refused a call", method=path, peer=context.peer(), reason=error.reason or str(error))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))

    def _caller(self, roles: frozenset[PeerRole], shown: Any, context: Context) -> PeerIdentity | None:
        if shown.get("transport_security_type") != [b"ssl"]:
            if self._is_own(context):
                return None
            raise Denied("a certificate is needed", "a call of this machine without the secret of this process")
        if shown.get("ssl_tls_version") != [b"TLSv1.3"]:
            raise Denied("TLS 1.3 is needed", f"the connection has {shown.get('ssl_tls_version')}")
        uris = [each.decode("utf-8", "replace") for each in shown.get("peer_uri", ())]
        return admitted(uris, self._cluster, roles)

    def _is_own(self, context: Context) -> bool:
        given = dict(context.invocation_metadata() or ()).get(WITHIN_KEY, "")
        return compare_digest(str(given).encode(), self._within.encode())
