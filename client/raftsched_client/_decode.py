"""From the status of a gRPC call to an error of this library."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from raftsched_proto.v1.error_pb2 import BadRequest, ErrorInfo, ErrorStatus, FieldViolation, RetryInfo

from raftsched_client.errors import (
    AlreadyExistsError,
    Applied,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RaftschedError,
    ResourceExhaustedError,
    UnavailableError,
)

DOMAIN = "raftsched"
DETAILS_KEY = "grpc-status-details-bin"
TYPE_URL_PREFIX = "type.googleapis.com/google.rpc."

_CLASSES: dict[grpc.StatusCode, type[RaftschedError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    # A server that goes down ends its calls so; this library never cancels a call that it waits for.
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
}

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# Codes that, without an ErrorInfo, leave open whether the request was applied.
_OPEN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DATA_LOSS,
    }
)

# gRPC's own words for a call that never left this process. Should they change, such a call counts as one that may have
# been applied, which is the safe side.
_NOT_SENT = ("failed to connect to all addresses", "DNS resolution failed")

_M = TypeVar("_M", bound=Message)


def decode(code: grpc.StatusCode, message: str, trailing_metadata: Iterable[tuple[str, str | bytes]]) -> RaftschedError:
    """The error for a status; ``applied`` is that of a call that changes something."""
    status = _status(trailing_metadata)
    info = _detail(status, ErrorInfo)
    retry = _detail(status, RetryInfo)
    bad_request = _detail(status, BadRequest)
    return _CLASSES.get(code, RaftschedError)(
        _readable(message) or code.name,
        applied=_applied(code, message, info),
        reason=info.reason if info else "",
        metadata=info.metadata if info else None,
        retry_after=timedelta(microseconds=retry.retry_delay.ToMicroseconds()) if retry else None,
        field_violations=bad_request.field_violations if bad_request else (),
    )


def decode_rpc_error(error: grpc.RpcError) -> RaftschedError:
    """The same, from what a synchronous or asynchronous call raises."""
    metadata = cast("Iterable[tuple[str, str | bytes]] | None", error.trailing_metadata())
    return decode(error.code(), error.details() or "", metadata or ())


def refusal(number: int, message: str, field: str) -> RaftschedError:
    """The error for one of many tasks, of which the answer to the others tells that it was refused.

    ``number`` is a google.rpc.Code, ``field`` the first field that was refused, or "".
    """
    code = _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)
    violations = [FieldViolation(field=field, description=message)] if field else []
    return _CLASSES.get(code, RaftschedError)(message or code.name, field_violations=violations)


def _applied(code: grpc.StatusCode, message: str, info: ErrorInfo | None) -> Applied:
    if info and info.domain == DOMAIN and "applied" in info.metadata:
        return "no" if info.metadata["applied"] == "no" else "unknown"
    if code not in _OPEN or message.startswith(_NOT_SENT):
        return "no"
    return "unknown"


def _readable(message: str) -> str:
    if not message.startswith(_NOT_SENT[0]):
        return message
    _, _, cause = message.rpartition(": ")
    return f"cannot connect: {cause}"


def _status(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> ErrorStatus | None:
    for key, value in trailing_metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            return _parse(ErrorStatus, value)
    return None


def _detail(status: ErrorStatus | None, kind: type[_M]) -> _M | None:
    for detail in status.details if status else ():
        if detail.type_url == TYPE_URL_PREFIX + kind.DESCRIPTOR.name:
            return _parse(kind, detail.value)
    return None


def _parse(kind: type[_M], data: bytes) -> _M | None:
    try:
        return kind.FromString(data)
    except DecodeError:
        # A proxy on the way may send details of its own; code and message still say what happened.
        return None
