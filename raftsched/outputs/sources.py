"""Where the stored output of an attempt is found: at its executor, or at a node that has a second copy."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
from raftsched_proto.internal.v1 import output_pb2, output_pb2_grpc

from raftsched.core.state.rows import ExecutionRow
from raftsched.net.channels import Channels
from raftsched.ports import MemberList

_FETCH_TIMEOUT_S = 3.0
_CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """Part of what an attempt wrote."""

    found: bool
    """Whether somebody who can be reached has the output."""
    offset: int = 0
    """Of the first byte of ``data``; higher than asked when the bytes before are not kept."""
    data: bytes = b""
    ended: bool = False
    """Whether the attempt has ended: what follows ``data`` is there already, and nothing comes after it."""


ExecutorFetch = Callable[[str, bytes, int, int, bytes], Awaitable[OutputChunk]]
"""Asks an executor, by id, for an execution, an attempt, an offset and a digest (empty: none is known)."""


class OutputSources:
    """Asks the executor that ran an attempt, then the node that the log names for the second copy, then the others.

    Whoever is asked checks the digest that is in the log. Two sources with the same digest hold the same bytes, so that
    one may go on where another stopped.
    """

    def __init__(self, executor_fetch: ExecutorFetch, channels: Channels, members: MemberList) -> None:
        self._executor_fetch = executor_fetch
        self._channels = channels
        self._members = members

    async def fetch(self, execution_id: bytes, row: ExecutionRow, offset: int) -> OutputChunk:
        """See ``context.OutputSource``."""
        chunk = await self._executor_fetch(row.executor_id, execution_id, row.attempt, offset, row.result.output_sha256)
        if chunk.found or not row.result.output_sha256:
            return chunk
        request = output_pb2.FetchOutputRequest(
            execution_id=execution_id, attempt=row.attempt, offset=offset, sha256=row.result.output_sha256
        )
        # A copy that was taken while there was no leader to tell is not named.
        for member in sorted(self._members.current, key=lambda member: member.id != row.output_copy_node_id):
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
