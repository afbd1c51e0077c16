"""Reads the requests of public methods, within bounds, and without holding up the event loop.

To read what the wire holds costs more than its size says: two bytes are an empty message, and a message takes about 150
bytes of memory. So requests have a bound by their method; and of one that holds many definitions, these are counted
first, as bytes, and then read a few at a time.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from raftsched_proto.v1 import task_pb2

from raftsched.api.door.errors import ApiError, invalid_field
from raftsched.commands.unknown import has_unknown, unknown_field
from raftsched.core.machine import MAX_BATCH_TASKS

MAX_CALL_BYTES, MAX_BATCH_BYTES = 1 << 20, 4 << 20
"""Of a request, and of one that takes many definitions. A definition has at most a quarter of a MiB."""
_TURN_BYTES = 64 << 10
_M = TypeVar("_M", bound=Message)
_BATCH = "/raftsched.v1.TaskService/BatchCreateTasks"


def _parts_of(name: str, *fields: descriptor_pb2.FieldDescriptorProto) -> Any:
    """A message with some fields of another one, of which what is costly to read stays the bytes that it is."""
    file = descriptor_pb2.FileDescriptorProto(name=f"raftsched/api/{name}.proto", package="raftsched.api")
    file.message_type.add(name=name, field=fields)
    pool = DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"raftsched.api.{name}"))


_Field = descriptor_pb2.FieldDescriptorProto
_BatchInParts = _parts_of(
    "BatchInParts",
    _Field(name="tasks", number=1, type=_Field.TYPE_BYTES, label=_Field.LABEL_REPEATED),
    _Field(name="request_id", number=2, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL),
)
_Named = _parts_of("Named", _Field(name="name", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL))
_Unread = _parts_of("Unread", _Field(name="unread", number=9_999, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL))
"""A field that ``Task`` does not have."""


async def read_request(path: str, data: bytes, parse: Callable[[bytes], Message]) -> tuple[Message, str]:
    """The request of the method without what is not known, and the first field that is not, "" for none.

    Raises ApiError (INVALID_ARGUMENT) when it is no request of the method, or beyond its bound.
    """
    bound = MAX_BATCH_BYTES if path == _BATCH else MAX_CALL_BYTES
    if len(data) > bound:
        message = f"the request has {len(data):,} bytes; at most {bound:,} are allowed. Send it in parts"
        raise ApiError(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE", message)
    try:
        return await _read_batch(data) if path == _BATCH and len(data) > _TURN_BYTES else _read(data, parse)
    except DecodeError:
        raise ApiError(
            grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE", "the request is not a message of this method"
        ) from None


def _read(data: bytes, parse: Callable[[bytes], _M]) -> tuple[_M, str]:
    request = parse(data)
    return request, unknown_field(parse(data)) if has_unknown(request, len(data)) else ""


def _read_parts(data: bytes) -> tuple[Any, str]:
    return _read(data, _BatchInParts.FromString)


async def _read_batch(data: bytes) -> tuple[task_pb2.BatchCreateTasksRequest, str]:
    parts, unknown = _read_parts(data)
    if len(parts.tasks) > MAX_BATCH_TASKS:
        raise invalid_field(
            "tasks", f"has {len(parts.tasks):,} tasks; at most {MAX_BATCH_TASKS:,} are allowed in a call"
        )
    request = task_pb2.BatchCreateTasksRequest(request_id=parts.request_id)
    read = 0
    for part in parts.tasks:
        if len(part) <= MAX_CALL_BYTES:
            task, unknown_part = _read(part, task_pb2.Task.FromString)
            request.tasks.append(task)
            unknown = unknown or (unknown_part and f"tasks.{unknown_part}")
        else:
            request.tasks.add().MergeFromString(_unread(part))
        read += len(part)
        if read >= _TURN_BYTES:
            read = 0
            await asyncio.sleep(0)
    return request, unknown


def _unread(part: bytes) -> bytes:
    """A task of that name and size, for it to be refused by itself, without what is in it."""
    named: bytes = _Named(name=_Named.FromString(part).name).SerializeToString()
    unread: bytes = _Unread(unread=part).SerializeToString()
    return named + unread
