"""The errors that a call can end with.

Every error says in ``applied`` what became of the request: ``"no"`` means that it certainly changed nothing,
``"unknown"`` that it may have been applied or may be yet. Repeat such a request with the ``request_id`` of the error:
the cluster remembers request ids for an hour and answers with the first outcome instead of acting again.

A refusal (invalid, not found, exists, conflict, exhausted) changes nothing by itself. Its ``applied`` is ``"unknown"``
all the same when an earlier attempt of that call ended without an answer.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

from raftsched_proto.v1.error_pb2 import FieldViolation

Applied: TypeAlias = Literal["no", "unknown"]
"""Whether a request that ended with an error may have been applied."""


class RaftschedError(Exception):
    """A call failed. Raised as such for what has no class of its own, which is the fault of the cluster.

    Attributes:
        applied: ``"no"`` or ``"unknown"``; always ``"no"`` for calls that only read.
        reason: a constant such as ``NOT_LEADER`` that says why; empty when the cluster gave none.
        metadata: what else the cluster said about the reason.
        retry_after: how long the cluster asks to wait before the next attempt; None when it asks nothing.
        request_id: the request id that all attempts carried; empty for calls that have none.
    """

    def __init__(
        self,
        message: str,
        *,
        applied: Applied = "no",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: timedelta | None = None,
        field_violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.applied: Applied = applied
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.field_violations = tuple(field_violations)
        self.request_id = ""


class InvalidArgumentError(RaftschedError):
    """The caller's fault: a value was refused.

    ``field_violations`` names each refused field and says why.
    """


class NotFoundError(RaftschedError):
    """The caller's fault: there is no such task, execution, group, calendar or node."""


class AlreadyExistsError(RaftschedError):
    """The caller's fault: there is a task, group or calendar of that name."""


class ConflictError(RaftschedError):
    """Nobody's fault: the etag no longer matches, or the state does not allow it. Read again and decide."""


class ResourceExhaustedError(RaftschedError):
    """A limit was reached: the message is too large (the caller's fault) or too much is in flight."""


class UnavailableError(RaftschedError):
    """The cluster's fault, or the network's: no node could serve the call in time (unreachable, or no quorum).

    It was not applied when ``applied`` is ``"no"``; it may have been when it is ``"unknown"``.
    """


class DeadlineExceededError(RaftschedError):
    """The deadline passed without an answer. It may have been applied, unless ``applied`` is ``"no"``."""
