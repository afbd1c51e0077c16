"""Where the stored output of an attempt is found, and the service that keeps second copies on every node."""
# ruff: noqa: N802 - the names are those of the rpcs, each of which is given a context

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import grpc

from raftsched.api.channels import Channels
from raftsched.api.context import OutputChunk
from raftsched.core.rows import ExecutionRow
from raftsched.internal.v1 import output_pb2, output_pb2_grpc
from raftsched.ports import Peer
from raftsched.store.outputs import AttemptKey, OutputDamaged, OutputFiles, StoredOutput, find

_FETCH_TIMEOUT_S = 3.0
_CONNECT_TIMEOUT_S = 1.0
_MAX_PUTS = 8
"""Copies that are taken at a time, each of up to 8 MiB; an executor whose copy is refused tries again later."""
_ID_BYTES = 16

ExecutorFetch = Callable[[bytes, int, int, bytes], Awaitable[OutputChunk]]
"""Asks the executor for an execution, an attempt, an offset and a digest (empty: none is known)."""
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


class OutputSources:
    """Asks the executor that ran an attempt, then the node that the log names for the second copy, then the others.

    Whoever is asked checks the digest that is in the log. Two sources with the same digest hold the same bytes, so that
    one may go on where another stopped.
    """

    def __init__(self, executor_fetch: ExecutorFetch, channels: Channels, members: Sequence[Peer]) -> None:
        self._executor_fetch = executor_fetch
        self._channels = channels
        self._members = members

    async def fetch(self, execution_id: bytes, row: ExecutionRow, offset: int) -> OutputChunk:
        """See ``context.OutputSource``."""
        chunk = await self._executor_fetch(execution_id, row.attempt, offset, row.output_sha256)
        if chunk.found or not row.output_sha256:
            return chunk
        request = output_pb2.FetchOutputRequest(
            execution_id=execution_id, attempt=row.attempt, offset=offset, sha256=row.output_sha256
        )
        # A copy that was taken while there was no leader to tell is not named.
        for member in sorted(self._members, key=lambda member: member.id != row.output_copy_node_id):
            found = await self._from_node(member.address, request)
            if found is not None:
                return OutputChunk(found=True, offset=found.offset, data=found.data, ended=True)
        return OutputChunk(found=False)

    async def _from_node(
        self, address: str, request: output_pb2.FetchOutputRequest
    ) -> output_pb2.FetchOutputResponse | None:
        channel = await self._channels.ready(address, _CONNECT_TIMEOUT_S)
        if channel is None:
            return None
        try:
            response = await output_pb2_grpc.OutputCopyServiceStub(channel).FetchOutput(
                request, timeout=_FETCH_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            # It is gone, or its copy is damaged, which its log tells.
            return None
        return response if response.found else None
