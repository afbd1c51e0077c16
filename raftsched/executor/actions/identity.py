"""What every run is told about its attempt, under the names that its kind of action has for such things.

There is one list of what is told; each kind takes it as environment, as headers or as metadata.
"""

import hashlib
from collections.abc import Callable, Mapping

from raftsched.executor.actions.base import AttemptContext

_TOLD: tuple[tuple[str, Callable[[AttemptContext], str]], ...] = (
    ("executor-id", lambda context: context.executor_id),
    ("task", lambda context: context.task),
    ("execution-id", lambda context: context.execution_id_text),
    ("nominal-time", lambda context: context.nominal_time_text),
    ("attempt", lambda context: str(context.attempt)),
    ("fencing-token", lambda context: str(context.fencing_token)),
    ("parent-execution-id", lambda context: context.parent_execution_ids_text),
)
"""Names and values; those that are empty are left out."""
_VARIABLES = {name: f"RAFTSCHED_{name.replace('-', '_').upper()}" for name, _ in _TOLD}
_SAMPLED = "01"


def environment(context: AttemptContext) -> dict[str, str]:
    """Variables of a program: ``RAFTSCHED_TASK``, ..., and ``TRACEPARENT``."""
    told = {_VARIABLES[name]: value for name, value in _told(context).items()}
    return {**told, "TRACEPARENT": traceparent(context)}


def headers(context: AttemptContext) -> dict[str, str]:
    """Headers of an HTTP request, or metadata of a gRPC call: ``x-raftsched-task``, ..., and those of the standards.

    ``idempotency-key`` is the execution id, the same for all attempts (draft-ietf-httpapi-idempotency-key-header).
    """
    told = {f"x-raftsched-{name}": value for name, value in _told(context).items()}
    return {"idempotency-key": context.execution_id_text, "traceparent": traceparent(context), **told}


def traceparent(context: AttemptContext) -> str:
    """The place of the attempt in a trace (W3C Trace Context): the execution is the trace, the attempt its span."""
    digest = hashlib.sha256(context.execution_id + context.attempt.to_bytes(4, "big")).hexdigest()
    return f"00-{context.execution_id.hex()}-{digest[:16]}-{_SAMPLED}"


def _told(context: AttemptContext) -> Mapping[str, str]:
    return {name: value for name, get in _TOLD if (value := get(context))}
