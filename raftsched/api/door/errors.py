"""What callers are told when a call fails: the status, and the details of google.rpc beside it.

Every error says in ErrorInfo metadata ``applied`` whether the request may have changed anything: ``no`` or ``unknown``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import error_pb2

from raftsched.definitions.violations import Invalid, Violation
from raftsched.ports import Fate

DOMAIN = "raftsched"
DETAILS_KEY = "grpc-status-details-bin"
NO_LEADER = "NO_LEADER"
NO_MAJORITY = "NO_MAJORITY"
NOT_LEADER = "NOT_LEADER"
NO_TIME = "NO_AGREED_TIME"
OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
ETAG_MISMATCH = "ETAG_MISMATCH"

# gRPC refuses more than 8 KiB of metadata, in which the details stand in base 64.
MAX_VIOLATIONS = 10
_MAX_TEXT = 200
_MAX_MESSAGE = 1000

_TYPE_URL = "type.googleapis.com/google.rpc."
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
_OUTCOME_REASONS = {
    grpc.StatusCode.ABORTED: ETAG_MISMATCH,
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_FIELDS",
}

_OF_THE_LIBRARY = {
    grpc.StatusCode.UNIMPLEMENTED: (
        "UNKNOWN_COMMAND",
        "the node that leads is of a version that does not know this call",
    ),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        "RESOURCE_EXHAUSTED",
        "the request or its answer is larger than the leader's messages may be",
    ),
}
"""What the library of gRPC refuses at another node, before any service of ours sees it."""

Metadata = tuple[tuple[str, bytes], ...]


class ApiError(Exception):
    """A call that ends with an error status."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        applied: str = "no",
        violations: Iterable[Violation] = (),
        retry_delay_s: float = 0.0,
        leader_address: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = _plain(message, _MAX_MESSAGE)
        self.applied = applied
        self.violations = tuple(
            Violation(_plain(violation.field, _MAX_TEXT), _plain(violation.description, _MAX_TEXT))
            for violation in tuple(violations)[:MAX_VIOLATIONS]
        )
        self._retry_delay_s = retry_delay_s
        self._metadata = {**(metadata or {}), **({"leader_address": leader_address} if leader_address else {})}

    @property
    def elsewhere(self) -> bool:
        """Whether the same call may succeed at another node or a moment later, and was certainly not applied here."""
        return self.applied == "no" and self.reason in (NO_LEADER, NO_MAJORITY, NOT_LEADER, NO_TIME)

    def metadata(self) -> Metadata:
        """The trailing metadata that carries the details."""
        status = error_pb2.ErrorStatus(
            code=self.code.value[0], message=self.message, details=map(_packed, self._details())
        )
        return ((DETAILS_KEY, status.SerializeToString()),)

    def _details(self) -> list[Message]:
        info = error_pb2.ErrorInfo(
            reason=self.reason, domain=DOMAIN, metadata={"applied": self.applied, **self._metadata}
        )
        details: list[Message] = [info]
        if self.violations:
            details.append(error_pb2.BadRequest(field_violations=map(_field_violation, self.violations)))
        if self._retry_delay_s:
            retry = error_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(round(self._retry_delay_s * 1000))
            details.append(retry)
        return details


class RelayedError(ApiError):
    """An error of another node, passed on as it is."""

    def __init__(self, code: grpc.StatusCode, message: str, details: bytes, info: error_pb2.ErrorInfo) -> None:
        super().__init__(code, info.reason, message, applied=info.metadata.get("applied", "no"))
        self._encoded = details

    def metadata(self) -> Metadata:
        """The trailing metadata as the other node sent it."""
        return ((DETAILS_KEY, self._encoded),) if self._encoded else ()


def _packed(detail: Message) -> AnyMessage:
    return AnyMessage(type_url=_TYPE_URL + type(detail).__name__, value=detail.SerializeToString())


def _field_violation(violation: Violation) -> error_pb2.FieldViolation:
    return error_pb2.FieldViolation(field=violation.field, description=violation.description)


def _plain(text: str, limit: int) -> str:
    """What a terminal and an HTTP/2 header can carry, whatever the caller sent."""
    text = text.encode("ascii", "backslashreplace").decode()
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def invalid(violations: Iterable[Violation]) -> ApiError:
    """Bad input: INVALID_ARGUMENT with the field violations."""
    violations = tuple(violations)
    text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return ApiError(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELDS", text, violations=violations)


def refusal(error: "ApiError | Invalid") -> ApiError:
    """The status of what was refused: bad input is INVALID_ARGUMENT."""
    return invalid(error.violations) if isinstance(error, Invalid) else error


def invalid_field(field: str, description: str) -> ApiError:
    """Bad input in one field."""
    return invalid((Violation(field, description),))


def not_found(what: str) -> ApiError:
    """``what`` does not exist: NOT_FOUND."""
    return ApiError(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", f"there is no {what}")


def already_exists(task: str) -> ApiError:
    """The name of a new task is taken: ALREADY_EXISTS."""
    text = f"a task named {task!r} exists"
    violations = (Violation("task.name", text),)
    return ApiError(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", text, violations=violations)


def etag_mismatch(task: str) -> ApiError:
    """The task changed since the caller read it: ABORTED."""
    return ApiError(
        grpc.StatusCode.ABORTED,
        ETAG_MISMATCH,
        f"the task {task!r} has changed since it was read; nothing was done. Read it again and repeat the change",
    )


def calendars_changed(
    message: str = "tasks or their calendars changed again and again meanwhile; nothing was done. Repeat the call",
) -> ApiError:
    """A calendar changed since it was read: ABORTED."""
    return ApiError(grpc.StatusCode.ABORTED, ETAG_MISMATCH, message)


def no_leader(message: str = "") -> ApiError:
    """Nobody can decide at the moment."""
    return ApiError(
        grpc.StatusCode.UNAVAILABLE,
        NO_LEADER,
        message or "the cluster has no leader at the moment; nothing was done. Repeat the call",
        retry_delay_s=0.5,
    )


def no_majority(why: str, missing: Sequence[str]) -> ApiError:
    """Nobody can decide before more nodes can be reached. ``missing``: ids of those that cannot."""
    return ApiError(
        grpc.StatusCode.UNAVAILABLE,
        NO_MAJORITY,
        f"there is no majority of nodes, so nobody leads: {why}. Nothing was done. Start the missing nodes or mend the "
        "network; until then reads that may be stale are answered (consistency STALE, --stale)",
        retry_delay_s=1.0,
        metadata={"missing_nodes": ",".join(missing)},
    )


def not_leader(leader_address: str) -> ApiError:
    """This node does not lead."""
    return ApiError(
        grpc.StatusCode.UNAVAILABLE,
        NOT_LEADER,
        "this node does not lead the cluster; nothing was done. Repeat the call",
        retry_delay_s=0.1,
        leader_address=leader_address,
    )


def stream_ended() -> ApiError:
    """A stream that had begun cannot go on. Not to be resumed in silence: changes in between would be missed."""
    return ApiError(
        grpc.StatusCode.UNAVAILABLE,
        "STREAM_ENDED",
        "the node that served this stream is gone or no longer leads the cluster. Call again",
        retry_delay_s=0.1,
    )


def overloaded(message: str) -> ApiError:
    """A bound is reached: RESOURCE_EXHAUSTED."""
    return ApiError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "OVERLOADED",
        f"{message}; nothing was done. Repeat the call a little later",
        retry_delay_s=0.2,
    )


def no_time(problem: str) -> ApiError:
    """No majority of the nodes has agreed on the time, without which nothing can be changed."""
    return ApiError(grpc.StatusCode.UNAVAILABLE, NO_TIME, f"{problem}; nothing was done", retry_delay_s=0.5)


def not_yet(problem: str) -> ApiError:
    """The request uses what came with a version that not all nodes know."""
    return ApiError(grpc.StatusCode.FAILED_PRECONDITION, "CLUSTER_VERSION", problem)


def unknown_field(path: str, version: str) -> ApiError:
    """The request has a field, or more, that this node does not know. Done without it, it would be another request."""
    message = f"the request has the field {path}, which this node (raftsched {version}) does not know; nothing was done"
    violation = Violation(path, "is of a newer version than this node: upgrade the nodes, or leave it out")
    return ApiError(grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_FIELD", message, violations=[violation])


def outcome_unknown(why: str) -> ApiError:
    """The request may have been applied."""
    return ApiError(
        grpc.StatusCode.UNAVAILABLE,
        OUTCOME_UNKNOWN,
        f"{why}; the request may have been applied or not. Repeat it with the same request_id",
        applied="unknown",
        retry_delay_s=0.5,
    )


def internal() -> ApiError:
    """A defect of ours; its traceback is in the log of the node."""
    return ApiError(
        grpc.StatusCode.INTERNAL,
        "INTERNAL",
        "the node failed to answer; the request may have been applied or not. The node's log says more",
        applied="unknown",
    )


def raise_for_fate(fate: Fate, leader_address: str, who: str = "") -> None:
    """Raise what a proposal that did not get through means for its caller. ``who``: which nodes are missing, if any."""
    if fate is Fate.NOT_LEADER:
        raise not_leader(leader_address)
    if fate is Fate.OVERLOADED:
        raise overloaded("too many changes are under way")
    if fate is Fate.UNKNOWN:
        raise outcome_unknown(f"the leader lost its leadership or its quorum on the way{who}")


def raise_for_outcome(outcome: pb.Outcome) -> None:
    """Raise the rejection that applying a command gave, if it did."""
    if not outcome.code:
        return
    code = _BY_NUMBER.get(outcome.code, grpc.StatusCode.UNKNOWN)
    violations = [Violation(outcome.field, outcome.message)] if outcome.field else []
    raise ApiError(code, _OUTCOME_REASONS.get(code, code.name), outcome.message, violations=violations)


async def abort(context: grpc.aio.ServicerContext[Message, Message], error: ApiError) -> NoReturn:
    """End the call with this error."""
    await context.abort(error.code, error.message, error.metadata())


def relayed(error: grpc.aio.AioRpcError, *, read: bool, begun: bool) -> ApiError:
    """What the failure of a call to another node means for the caller of this one.

    An answer of the other node goes through as it is. Where the connection failed, a stream that had begun has ended, a
    read was not answered, and anything else may have been applied.
    """
    details = _details_of(error)
    status = error_pb2.ErrorStatus()
    info = error_pb2.ErrorInfo()
    try:
        status.ParseFromString(details)
        for detail in status.details:
            if detail.type_url == _TYPE_URL + "ErrorInfo":
                info.ParseFromString(detail.value)
    except DecodeError:
        details = b""
    if details:
        return RelayedError(error.code(), error.details() or "", details, info)
    if error.code() in _OF_THE_LIBRARY:
        return ApiError(error.code(), *_OF_THE_LIBRARY[error.code()])
    if begun:
        return stream_ended()
    if read:
        return no_leader("the connection to the leader failed; nothing was read. Repeat the call")
    return outcome_unknown("the connection to the leader failed")


def _details_of(error: grpc.aio.AioRpcError) -> bytes:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return value if isinstance(value, bytes) else value.encode()
    return b""
