"""The service that keeps second copies of outputs on every node."""
# ruff: noqa: N802 - the names are those of the rpcs, each of which is given a context

import asyncio
from pathlib import Path

import grpc
from raftsched_proto.internal.v1 import output_pb2, output_pb2_grpc

from raftsched.outputs.files import AttemptKey, OutputDamaged, OutputFiles, StoredOutput, find

_MAX_PUTS = 8
"""Copies that are taken at a time, each of up to 8 MiB; an executor whose copy is refused tries again later."""
_ID_BYTES = 16
PutContext = grpc.aio.ServicerContext[output_pb2.PutOutputRequest, output_pb2.PutOutputResponse]
FetchContext = grpc.aio.ServicerContext[output_pb2.FetchOutputRequest, output_pb2.FetchOutputResponse]


class OutputCopyService(output_pb2_grpc.OutputCopyServiceServicer):
    """Takes second copies, and serves what is stored at this node: those, and what its executor ran."""

    def __init__(self, copies: OutputFiles, directories: tuple[Path, ...]) -> None:
        """``directories``: where outputs are stored here, of either kind."""
        self._copies = copies
        self._directories = directories
        self._puts = 0

    async def PutOutput(
        self, request: output_pb2.PutOutputRequest, context: PutContext
    ) -> output_pb2.PutOutputResponse:
        """Store a copy, if it is what its digest says."""
        if len(request.execution_id) != _ID_BYTES or request.attempt < 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "execution_id has 16 bytes, attempt counts from 1")
        if self._puts >= _MAX_PUTS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{_MAX_PUTS} copies are being taken")
        self._puts += 1
        try:
            output = StoredOutput(request.size_bytes, request.head_bytes, request.data)
            await asyncio.to_thread(self._copies.put, _key(request), output, request.sha256)
        except (ValueError, OutputDamaged) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the copy cannot be written: {error.strerror}")
        finally:
            self._puts -= 1
        return output_pb2.PutOutputResponse()

    async def FetchOutput(
        self, request: output_pb2.FetchOutputRequest, context: FetchContext
    ) -> output_pb2.FetchOutputResponse:
        """Some of a stored output, if it is here and sound. Raises nothing for a damaged one, which the log tells."""
        if len(request.execution_id) != _ID_BYTES or request.offset < 0:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "execution_id has 16 bytes, offset is not negative")
        stored = await asyncio.to_thread(find, self._directories, _key(request), request.sha256)
        if stored is None:
            return output_pb2.FetchOutputResponse(found=False)
        offset, data = stored.read(request.offset)
        return output_pb2.FetchOutputResponse(found=True, offset=offset, data=data)


def _key(request: output_pb2.PutOutputRequest | output_pb2.FetchOutputRequest) -> AttemptKey:
    return request.execution_id, request.attempt
