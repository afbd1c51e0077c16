"""GetOutput: what an attempt of an execution wrote, from its executor or from what travelled through the log."""

import asyncio
from collections.abc import AsyncIterator

from raftsched_proto.v1 import execution_pb2

from raftsched.api.context import ApiContext
from raftsched.api.door.errors import stream_ended
from raftsched.core.state.model import ExecutionState
from raftsched.core.state.past_attempts import as_of
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import Table

_POLL_S = 0.3
_MESSAGE_BYTES = 64 << 10
_FETCHES_PER_PASS = 32
"""A call that does not follow ends even if the attempt writes faster than it is read."""


class OutputReader:
    """Reads the output of one execution from where it stopped before."""

    def __init__(
        self, api: ApiContext, execution_id: bytes, row: ExecutionRow, offset: int = 0, *, only_attempt: bool = False
    ) -> None:
        """``row``: as of the attempt to begin with; ``only_attempt``: and to end with."""
        self._api = api
        self._only_attempt = only_attempt
        self._id = execution_id
        self._row = row
        self._offset = offset
        self._said_dropped = False

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
        """From where it is stored as long as there is more, else the tail that came with the end of the attempt."""
        tail = self._row.result.output_tail
        tail_offset = self._row.result.output_size_bytes - len(tail)
        for _ in range(_FETCHES_PER_PASS):
            if ExecutionState(self._row.state).ended and self._offset >= tail_offset:
                break
            chunk = await self._api.output.fetch(self._id, self._row, self._offset)
            if not chunk.found:
                break
            if not chunk.data:
                return
            for response in self._messages(chunk.offset, chunk.data):
                yield response
        else:
            return
        for response in self._messages(tail_offset, tail):
            yield response

    def _messages(self, offset: int, data: bytes) -> list[execution_pb2.GetOutputResponse]:
        """What lies at or behind the own offset, which moves on."""
        data = data[max(0, self._offset - offset) :]
        if not data:
            return []
        truncated = offset if offset > self._offset else 0
        begin = max(self._offset, offset)
        self._offset = begin + len(data)
        responses = [
            execution_pb2.GetOutputResponse(
                data=data[start : start + _MESSAGE_BYTES], attempt=self._row.attempt, offset=begin + start
            )
            for start in range(0, len(data), _MESSAGE_BYTES)
        ]
        responses[0].truncated_bytes = truncated
        if not self._said_dropped and ExecutionState(self._row.state).ended:
            stored_bytes = self._row.result.output_stored_bytes or len(self._row.result.output_tail)
            responses[0].dropped_bytes = max(0, self._row.result.output_size_bytes - stored_bytes)
        self._said_dropped = True
        return responses

    def _refresh(self) -> None:
        if not self._api.leads():
            raise stream_ended()
        with self._api.store.read() as reader:
            value = reader.get(Table.EXECUTIONS, self._id)
            # Retention removes only what has ended, long ago.
            assert value is not None, "a followed execution is gone"
            row = ExecutionRow.FromString(value)
            if self._only_attempt:
                # One that is long past, and its row with it, has ended as it was seen last.
                row = as_of(reader, self._id, row, self._row.attempt) or self._row
        if row.attempt != self._row.attempt:
            self._offset = 0
        self._row = row
