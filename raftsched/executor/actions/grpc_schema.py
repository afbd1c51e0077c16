"""Learns what a gRPC method takes and gives, from its server or from a descriptor set."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2

_VERSIONS = ("v1", "v1alpha")
"""Of the reflection service: the same messages under two names; older servers have the second only."""
_MAX_FILES = 1_000


class SchemaError(Exception):
    """The method cannot be called; the text says why. Nothing was called."""


@dataclass(frozen=True, slots=True)
class Method:
    """A unary method."""

    pool: DescriptorPool
    request_name: str
    request: type[Message]
    response: type[Message]


def by_descriptor_set(data: bytes, method: str) -> Method:
    """The method, from a serialised ``FileDescriptorSet``. Raises SchemaError, DecodeError."""
    files = descriptor_pb2.FileDescriptorSet.FromString(data).file
    return _find(_pool(files), method, "the descriptor set")


async def by_reflection(channel: grpc.aio.Channel, method: str) -> Method:
    """The method, from what the server says of itself. Raises SchemaError, grpc.RpcError."""
    for version in _VERSIONS:
        try:
            files = await _ask(channel, version, method.rpartition("/")[0])
            return _find(_pool(files), method, "what the server's reflection service gave")
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
    raise SchemaError("the server has no reflection service: give the descriptor set of the method")


async def _ask(channel: grpc.aio.Channel, version: str, service: str) -> list[descriptor_pb2.FileDescriptorProto]:
    """The file of a service and all that it imports."""
    # One question for each call, which on the wire is a stream with one message. A stream that is written to loses the
    # status of a server that ends it meanwhile, as one without this version does: grpc.aio makes it INTERNAL.
    reflection_info = channel.unary_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    questions = deque([reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)])
    asked: set[str] = set()
    while questions:
        answer = await anext(aiter(reflection_info(questions.popleft())), None)
        if answer is None:
            raise SchemaError("the server's reflection service gave no answer")
        if answer.HasField("error_response"):
            raise SchemaError(f"the server's reflection service: {answer.error_response.error_message}")
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            files[file.name] = file
        if len(files) > _MAX_FILES:
            raise SchemaError(f"the service imports more than {_MAX_FILES} files")
        missing = {name for file in files.values() for name in file.dependency} - files.keys() - asked
        asked |= missing
        questions.extend(reflection_pb2.ServerReflectionRequest(file_by_filename=name) for name in sorted(missing))
    return list(files.values())


def _pool(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> DescriptorPool:
    pool = DescriptorPool()
    waiting = {file.name: file for file in files}
    while waiting:
        # A file can be added when all that it imports is there.
        ready = [file for file in waiting.values() if not any(name in waiting for name in file.dependency)]
        if not ready:
            raise SchemaError("the files of the service import each other in a circle")
        for file in ready:
            try:
                pool.Add(file)
                pool.FindFileByName(file.name)
            except (KeyError, TypeError) as error:
                raise SchemaError(f"the description {file.name} of the service cannot be used: {error}") from None
            del waiting[file.name]
    return pool


def _find(pool: DescriptorPool, method: str, source: str) -> Method:
    service, _, name = method.rpartition("/")
    try:
        found = pool.FindServiceByName(service).methods_by_name[name]
    except KeyError:
        raise SchemaError(f"there is no method {method} in {source}") from None
    if found.client_streaming or found.server_streaming:
        raise SchemaError(f"{method} streams: only unary methods can be called")
    return Method(
        pool,
        found.input_type.full_name,
        message_factory.GetMessageClass(found.input_type),
        message_factory.GetMessageClass(found.output_type),
    )
