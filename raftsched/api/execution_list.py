"""ListExecutions and ListLedger: filtered walks through executions and the fire record."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_client.v1 import execution_pb2

from raftsched.api.convert import public_execution, public_ledger_entry
from raftsched.api.fields import Violations, check_enum, check_name, check_time, page_size
from raftsched.api.paging import collect, decode_token, encode_token
from raftsched.core import ids
from raftsched.core.model import ExecutionState
from raftsched.core.rows import (
    ExecutionRow,
    LedgerRow,
    be64,
    executions_of,
    failure_key,
    timestamp_us,
)
from raftsched.core.wellformed import MAX_US
from raftsched.ports import Reader, Table

_Rows = Iterator[tuple[bytes, execution_pb2.Execution | None]]
_MILLISECOND_US = 1_000


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a listing of executions asks for; nominal times from ``start_us`` until before ``end_us``."""

    states: frozenset[int]
    start_us: int
    end_us: int

    def find(self, reader: Reader, execution_id: bytes) -> execution_pb2.Execution | None:
        """The execution, if it is kept and asked for."""
        value = reader.get(Table.EXECUTIONS, execution_id)
        return None if value is None else self.matching(execution_id, value)

    def matching(self, execution_id: bytes, value: bytes) -> execution_pb2.Execution | None:
        """The execution of a row, if it is asked for."""
        row = ExecutionRow.FromString(value)
        if (self.states and row.state not in self.states) or not self.start_us <= row.nominal_us < self.end_us:
            return None
        return public_execution(execution_id, row)


def read_execution(reader: Reader, execution_id: bytes) -> execution_pb2.Execution | None:
    """The execution, or None when retention has removed it or it never was."""
    value = reader.get(Table.EXECUTIONS, execution_id)
    return None if value is None else public_execution(execution_id, ExecutionRow.FromString(value))


async def list_executions(
    reader: Reader, request: execution_pb2.ListExecutionsRequest
) -> execution_pb2.ListExecutionsResponse:
    """One page, newest nominal time first. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, 100, 1_000)
    _check(request.task, request.start_time, request.end_time, list(request.states))
    before = decode_token(request, request.page_token)
    page = await collect(_executions(reader, request, before), limit)
    return execution_pb2.ListExecutionsResponse(
        executions=page.items, next_page_token=encode_token(request, page.last_key)
    )


def _check(task: str, start: Timestamp, end: Timestamp, states: list[int]) -> None:
    violations = Violations()
    if task:
        check_name(violations, "task", task)
    check_time(violations, "start_time", start)
    check_time(violations, "end_time", end)
    for state in states:
        check_enum(violations, "states", state, ExecutionState)
    violations.raise_any()


def _end_us(end: Timestamp) -> int:
    return timestamp_us(end) or MAX_US + 1


def _executions(reader: Reader, request: execution_pb2.ListExecutionsRequest, before: bytes) -> _Rows:
    wanted = _Filter(frozenset(request.states), timestamp_us(request.start_time), _end_us(request.end_time))
    if request.task:
        return _of_task(reader, request.task, wanted, before)
    first = ids.first_id(wanted.start_us)
    # Ids know whole milliseconds.
    stop = before or ids.first_id(wanted.end_us + _MILLISECOND_US - 1)
    if wanted.states and ExecutionState.SUCCEEDED not in wanted.states:
        return ((found, wanted.find(reader, found)) for found in _ids_by_state(reader, wanted.states, first, stop))
    rows = reader.scan(Table.EXECUTIONS, first, stop, reverse=True)
    return ((execution_id, wanted.matching(execution_id, value)) for execution_id, value in rows)


def _of_task(reader: Reader, task: str, wanted: _Filter, before: bytes) -> _Rows:
    for key, value in _ledger(reader, task, wanted.start_us, wanted.end_us, stop=before, reverse=True):
        found = executions_of(key, LedgerRow.FromString(value))
        if not found:
            yield key, None
        for execution_id in reversed(found):
            # A ledger entry may stand for several, and a page may end between them.
            at = key + execution_id
            if not before or at < before:
                yield at, wanted.find(reader, execution_id)


def _ledger(
    reader: Reader, task: str, start_us: int, end_us: int, *, start: bytes = b"", stop: bytes = b"", reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    prefix = task.encode() + b"\0"
    return reader.scan(Table.LEDGER, start or prefix + be64(start_us), stop or prefix + be64(end_us), reverse=reverse)


def _ids_by_state(reader: Reader, states: frozenset[int], first: bytes, stop: bytes) -> Iterator[bytes]:
    """Ids of executions in states that have an index, descending; some may be of other states."""
    sources: list[Iterator[bytes]] = []
    if ExecutionState.PENDING in states:
        sources += [_keys(reader, table, first, stop) for table in (Table.PENDING, Table.HELD)]
    if states & {ExecutionState.ASSIGNED, ExecutionState.RUNNING}:
        sources.append(_keys(reader, Table.ACTIVE, first, stop))
    sources += [
        _keys(reader, Table.FAILURES, failure_key(state, first), failure_key(state, stop), skip=1)
        for state in states
        if state > ExecutionState.SUCCEEDED
    ]
    return heapq.merge(*sources, reverse=True)


def _keys(reader: Reader, table: Table, first: bytes, stop: bytes, skip: int = 0) -> Iterator[bytes]:
    return (key[skip:] for key, _ in reader.scan(table, first, stop, reverse=True))


async def list_ledger(reader: Reader, request: execution_pb2.ListLedgerRequest) -> execution_pb2.ListLedgerResponse:
    """One page, oldest nominal time first. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, 1_000, 10_000)
    violations = Violations()
    check_name(violations, "task", request.task)
    violations.raise_any()
    _check(request.task, request.start_time, request.end_time, [])
    after = decode_token(request, request.page_token)
    start = after + b"\0" if after else b""
    start_us, end_us = timestamp_us(request.start_time), _end_us(request.end_time)
    rows = _ledger(reader, request.task, start_us, end_us, start=start, reverse=False)
    page = await collect(((key, public_ledger_entry(key, value)) for key, value in rows), limit)
    return execution_pb2.ListLedgerResponse(entries=page.items, next_page_token=encode_token(request, page.last_key))
