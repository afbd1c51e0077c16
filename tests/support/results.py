"""Fields of messages with the result of an attempt, written side by side."""

from typing import Any

from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult


def in_result(**fields: Any) -> dict[str, Any]:
    """The fields, with those that are of the result of an attempt in one."""
    names = AttemptResult.DESCRIPTOR.fields_by_name
    result = AttemptResult(**{name: value for name, value in fields.items() if name in names})
    return {"result": result} | {name: value for name, value in fields.items() if name not in names}
