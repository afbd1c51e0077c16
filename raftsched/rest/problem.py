"""Errors as problem details (RFC 9457)."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from raftsched_proto.v1 import error_pb2
from starlette.responses import Response

from raftsched.api.door.errors import DETAILS_KEY
from raftsched.definitions.violations import Violation
from raftsched.rest.names import in_json_names, json_name

MEDIA_TYPE = "application/problem+json"
MAX_VIOLATIONS = 20
TYPE_PREFIX = "/docs#problem-"
"""A problem's type is the place in the reference that explains its reason."""

REASONS = {
    "INVALID_FIELDS": "Fields of the request were refused; `violations` names them.",
    "MALFORMED_REQUEST": "The request is not what HTTP or JSON ask for.",
    "NOT_FOUND": "There is no such task, execution, group, calendar or path.",
    "METHOD_NOT_ALLOWED": "The path exists, but not for this method; the header Allow names those that it has.",
    "UNSUPPORTED_MEDIA_TYPE": "The body must be JSON, and say so in Content-Type.",
    "BODY_TOO_LARGE": "The body is larger than a request may be.",
    "HEADERS_TOO_LARGE": "Headers, path or query are longer than a request may have.",
    "REQUEST_TIMEOUT": "The body of the request did not arrive in time.",
    "CROSS_ORIGIN": "A page of another origin asked, and this node does not allow it to. The setting `http_origins` "
    "adds origins whose pages may.",
    "UNKNOWN_HOST": "Host has a name that this node is not served as; `detail` says as which it is. The setting "
    "`http_hosts` adds names.",
    "ALREADY_EXISTS": "There is a task, group or calendar of this name.",
    "ETAG_MISMATCH": "The task or calendar has changed since it was read. Read it again and repeat the change.",
    "FAILED_PRECONDITION": "The state does not allow it, as `detail` says: an execution has ended, a group is in use.",
    "TRANSFER_FAILED": "The leadership could not be handed over.",
    "RESOURCE_EXHAUSTED": "There are as many as there may be: `detail` says of what.",
    "OVERLOADED": "A bound is reached. Repeat the call after the time in Retry-After.",
    "NO_LEADER": "The cluster has no leader at the moment. Repeat the call.",
    "NO_MAJORITY": "Fewer than a majority of the nodes can be reached, so nobody leads; `missingNodes` are the others. "
    "Reads that ask for `consistency=CONSISTENCY_STALE` are answered.",
    "NOT_LEADER": "The leader changed on the way. Repeat the call.",
    "OUTCOME_UNKNOWN": "The change may have been applied or not. Repeat it with the same Idempotency-Key.",
    "NOT_WITHDRAWN": "The task was changed, but executors that hold executions of it have not answered: these may "
    "still start. Repeat it with the same Idempotency-Key to wait for them.",
    "STREAM_ENDED": "The node that served the stream is gone or no longer leads. Call again.",
    "DEADLINE_EXCEEDED": "No answer came in time.",
    "UNKNOWN_COMMAND": "The nodes are of several versions, and one is too old for the call.",
    "INTERNAL": "A defect of the node; its log says more.",
}
"""What each reason means, for the reference."""

_STATUSES = {
    grpc.StatusCode.CANCELLED: 503,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_RETRY_STATUSES = (429, 503)
_WITHOUT_DETAILS = {
    grpc.StatusCode.UNAVAILABLE: "the node is stopping; call another, or repeat the call",
    grpc.StatusCode.CANCELLED: "the node is stopping; call another, or repeat the call",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer came in time; repeat the call",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "the request or its answer is larger than a message may be",
    grpc.StatusCode.UNIMPLEMENTED: "the node that leads is of a version that does not know this call",
}
"""Of failures that no service of ours has explained."""
_log = structlog.get_logger(__name__)
_GOOGLE_RPC = "type.googleapis.com/google.rpc."


@dataclass
class Problem(Exception):
    """A request that ends with an error. ``applied`` says whether it may have changed anything: no or unknown."""

    status: int
    reason: str
    detail: str
    applied: str = "no"
    violations: tuple[Violation, ...] = ()
    retry_after_s: float = 0.0
    missing_nodes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """The members of the problem document."""
        document: dict[str, object] = {
            "type": TYPE_PREFIX + self.reason,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "reason": self.reason,
            "applied": self.applied,
        }
        if self.violations:
            document["violations"] = [
                {"field": each.field, "description": each.description} for each in self.violations
            ]
        if self.missing_nodes:
            document["missingNodes"] = list(self.missing_nodes)
        return document

    def text(self) -> str:
        """The problem document."""
        return json.dumps(self.document(), ensure_ascii=True)

    def response(self) -> Response:
        """The document with its status and headers."""
        headers = {**self.headers, "Cache-Control": "no-store"}
        if self.status in _RETRY_STATUSES:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return Response(self.text(), self.status, headers, MEDIA_TYPE)


def malformed(detail: str, *violations: Violation) -> Problem:
    """The request is not well formed."""
    return Problem(400, "MALFORMED_REQUEST", detail, violations=violations)


def refused(violations: Iterable[Violation]) -> Problem:
    """Fields of the request cannot be what they are."""
    violations = tuple(violations)[:MAX_VIOLATIONS]
    return Problem(400, "INVALID_FIELDS", _told(violations), violations=violations)


def internal() -> Problem:
    """A defect of ours; its traceback is in the log."""
    return Problem(
        500,
        "INTERNAL",
        "the node failed to answer; the request may have been applied or not. The node's log says more",
        applied="unknown",
    )


def _told(violations: Iterable[Violation]) -> str:
    return "; ".join(f"{violation.field}: {violation.description}" for violation in violations)


def problem_of(error: grpc.aio.AioRpcError, *, is_safe: bool, conditional: bool, body: str) -> Problem:
    """What the failure of an rpc means to the caller over HTTP.

    ``conditional``: the caller sent If-Match. ``body``: the field of the request that the HTTP body was, which the
    caller knows as the body itself.
    """
    info, bad, retry = _details(error)
    code = error.code()
    status = 412 if conditional and code is grpc.StatusCode.ABORTED else _STATUSES.get(code, 500)
    # Without details the failure is one of the connection, on which the request may have got through.
    applied = info.metadata.get("applied", "no" if is_safe or status < 500 else "unknown")
    problem = Problem(
        status,
        info.reason or code.name,
        in_json_names(_detail(error, known=bool(info.reason))),
        applied=applied,
        violations=tuple(
            Violation(json_path(each.field, body), in_json_names(each.description)) for each in bad.field_violations
        ),
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000,
        missing_nodes=tuple(filter(None, info.metadata.get("missing_nodes", "").split(","))),
    )
    return replace(problem, detail=_told(problem.violations)) if problem.violations else problem


def _detail(error: grpc.aio.AioRpcError, *, known: bool) -> str:
    """What the API says. Where the connection to it failed, that, and not the words of the library of gRPC."""
    if known and error.details():
        return error.details() or ""
    return _WITHOUT_DETAILS.get(error.code(), f"the node could not answer ({error.code().name}); its log may say more")


def json_path(path: str, body: str) -> str:
    """The path of a field of the request as the caller of REST knows it: in the body, in JSON names."""
    if body:
        path = path.removeprefix(f"{body}.")
    return ".".join(json_name(part) for part in path.split("."))


def _details(
    error: grpc.aio.AioRpcError,
) -> tuple[error_pb2.ErrorInfo, error_pb2.BadRequest, error_pb2.RetryInfo]:
    info, bad, retry = error_pb2.ErrorInfo(), error_pb2.BadRequest(), error_pb2.RetryInfo()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            _read(value, {"ErrorInfo": info, "BadRequest": bad, "RetryInfo": retry})
    return info, bad, retry


def _read(status: bytes, kinds: dict[str, Message]) -> None:
    try:
        for detail in error_pb2.ErrorStatus.FromString(status).details:
            name = detail.type_url.removeprefix(_GOOGLE_RPC)
            if name in kinds:
                kinds[name].ParseFromString(detail.value)
    except DecodeError:
        _log.warning("the details of an error cannot be read")
