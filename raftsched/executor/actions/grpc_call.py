"""Makes unary gRPC calls, to servers that it learns about by reflection or from a descriptor set."""

import asyncio
import ssl
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import identity
from raftsched.executor.actions.base import AttemptContext, Result, Surroundings, first_of
from raftsched.executor.actions.grpc_schema import Method, SchemaError, by_descriptor_set, by_reflection
from raftsched.net.dial import dial

_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
_CLOSE_TO_LIMIT = 0.95


def create(surroundings: Surroundings) -> "GrpcRunner":
    """The runner of gRPC calls."""
    return GrpcRunner(surroundings.settings.version)


class GrpcRunner:
    """Makes one call over a connection of its own. The response is the output, in protobuf's JSON mapping.

    A server that is not there fails the attempt at once: trying again is the task's retry policy's.
    """

    def __init__(self, version: str) -> None:
        self._options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            ("grpc.max_receive_message_length", _MAX_RESPONSE_BYTES),
            ("grpc.primary_user_agent", f"raftsched/{version}" if version else "raftsched"),
        ]

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Find the method, make the call, and wait for its response."""
        call = asyncio.ensure_future(self._call(action.grpc, context))
        if not await first_of(call, context.stop):
            call.cancel()
            await asyncio.wait((call,))
            return context.stop.requested.result()
        return call.result()

    async def _call(self, action: task_pb2.GrpcAction, context: AttemptContext) -> Result:
        loop = asyncio.get_running_loop()
        limit_s = context.time_limit_us / 1e6 or None
        deadline = loop.time() + limit_s if limit_s else None
        channel = await self._open(action)
        try:
            method = await _find(channel, action)
            request = json_format.Parse(action.request_json or "{}", method.request())
            unary = channel.unary_unary(
                f"/{action.method}",
                request_serializer=_serialised,
                response_deserializer=method.response.FromString,
            )
            left_s = None if deadline is None else max(0.001, deadline - loop.time())
            response = await unary(request, timeout=left_s, metadata=tuple(_metadata(action, context).items()))
        except SchemaError as error:
            return Result(ExecutionState.FAILED, error=f"not called: {error}")
        except json_format.ParseError as error:
            return Result(ExecutionState.FAILED, error=f"not called: request_json is no {method.request_name}: {error}")
        except grpc.RpcError as error:
            if deadline and limit_s and loop.time() >= deadline - limit_s * (1 - _CLOSE_TO_LIMIT):
                # Its deadline is the time limit of the attempt, which says so itself.
                return await asyncio.shield(context.stop.requested)
            return Result(ExecutionState.FAILED, error=_reason(action, error))
        finally:
            await channel.close()
        context.output.write(json_format.MessageToJson(response, descriptor_pool=method.pool).encode())
        return Result(ExecutionState.SUCCEEDED)

    async def _open(self, action: task_pb2.GrpcAction) -> grpc.aio.Channel:
        if not action.tls:
            return dial(action.target, self._options)
        credentials = grpc.ssl_channel_credentials(root_certificates=await asyncio.to_thread(_authorities))
        return dial(action.target, self._options, credentials=credentials)

    async def close(self) -> None:
        """Nothing is kept between runs."""


async def _find(channel: grpc.aio.Channel, action: task_pb2.GrpcAction) -> Method:
    if action.descriptor_set:
        try:
            return by_descriptor_set(action.descriptor_set, action.method)
        except DecodeError:
            raise SchemaError("descriptor_set is no serialised FileDescriptorSet") from None
    return await by_reflection(channel, action.method)


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


def _metadata(action: task_pb2.GrpcAction, context: AttemptContext) -> dict[str, str]:
    return {**action.metadata, **identity.headers(context)}


def _authorities() -> bytes | None:
    """Those that OpenSSL trusts here (SSL_CERT_FILE, or those of the system); None: those that come with gRPC."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None


def _reason(action: task_pb2.GrpcAction, error: grpc.RpcError) -> str:
    if not isinstance(error, grpc.aio.AioRpcError):
        return f"{action.method} at {action.target}: {error}"
    return f"{action.method} at {action.target}: {error.code().name}: {error.details()}"
