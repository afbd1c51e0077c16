"""GetOutput: what the last attempt of an execution wrote, from its executor or from what travelled through the log."""

import asyncio
from collections.abc import AsyncIterator

from raftsched_client.v1 import execution_pb2

from raftsched.api.context import ApiContext
from raftsched.api.errors import stream_ended
from raftsched.core.model import ExecutionState
from raftsched.core.rows import ExecutionRow
from raftsched.ports import Table

_POLL_S = 0.3
_MESSAGE_BYTES = 64 << 10
_FETCHES_PER_PASS = 32
"""A call that does not follow ends even if the attempt writes faster than it is read."""


class OutputReader:
    """Reads the output of one execution from where it stopped before."""

    def __init__(self, api: ApiContext, execution_id: bytes, row: ExecutionRow) -> None:
        self._api = api
        self._id = execution_id
        self._row = row
        self._offset = 0

    async def responses(self, *, follow: bool) -> AsyncIterator[execution_pb2.GetOutputResponse]:
        """What there is; with ``follow`` also what comes until the execution has ended.

        A further attempt begins its output anew. Raises ApiError (STREAM_ENDED) when this node stops leading meanwhile.
        """
        while True:
            ended = ExecutionState(self._row.state).ended
            async for response in self._available():
                yield response
            if ended or not follow:
                return
            await asyncio.sleep(_POLL_S)
            self._refresh()

    async def _available(self) -> AsyncIterator[execution_pb2.GetOutputResponse]:
        """From the executor as long as it has more, else the tail that came with the end of the attempt."""
        for _ in range(_FETCHES_PER_PASS):
            chunk = await self._api.output.fetch(self._id, self._row.attempt, self._offset)
            if not chunk.found:
                break
            if not chunk.data:
                return
            for response in self._messages(chunk.offset, chunk.data):
                yield response
            if chunk.ended:
                return
        tail = self._row.output_tail
        for response in self._messages(self._row.output_size_bytes - len(tail), tail):
            yield response

    def _messages(self, offset: int, data: bytes) -> list[execution_pb2.GetOutputResponse]:
        """What lies at or behind the own offset, which moves on."""
        data = data[max(0, self._offset - offset) :]
        if not data:
            return []
        truncated = offset if offset > self._offset else 0
        self._offset = max(self._offset, offset) + len(data)
        pieces = [data[start : start + _MESSAGE_BYTES] for start in range(0, len(data), _MESSAGE_BYTES)]
        return [
            execution_pb2.GetOutputResponse(data=piece, truncated_bytes=0 if number else truncated)
            for number, piece in enumerate(pieces)
        ]

    def _refresh(self) -> None:
        if not self._api.leads():
            raise stream_ended()
        with self._api.store.read() as reader:
            value = reader.get(Table.EXECUTIONS, self._id)
        # Retention removes only what has ended, long ago.
        assert value is not None, "a followed execution is gone"
        row = ExecutionRow.FromString(value)
        if row.attempt != self._row.attempt:
            self._offset = 0
        self._row = row
