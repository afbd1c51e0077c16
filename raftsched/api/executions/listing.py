"""ListExecutions and ListAttempts: filtered walks through executions, and their attempts."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import consistency_pb2, execution_pb2

from raftsched.api.convert import public_attempt, public_execution
from raftsched.api.executions.waits import Explain, untold
from raftsched.api.paging import collect, decode_token, encode_token, page_size
from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.state import ids
from raftsched.core.state.model import ACTIVE_STATES, ExecutionState
from raftsched.core.state.past_attempts import past_attempts, present_attempt
from raftsched.core.state.rows import ExecutionRow, LedgerRow, be64, executions_of, failure_key, timestamp_us
from raftsched.definitions.fields import check_enum, check_name, check_time
from raftsched.definitions.violations import Violations
from raftsched.ports import Reader, Table

_Rows = Iterator[tuple[bytes, execution_pb2.Execution | None]]
_MILLISECOND_US = 1_000
_UNSTARTED = frozenset((int(ExecutionState.PENDING), int(ExecutionState.ARMED), int(ExecutionState.ASSIGNED)))


@dataclass(frozen=True, slots=True)
class _ExecutionFilter:
    """What a listing of executions asks for; nominal times from ``start_us`` until before ``end_us``."""

    states: frozenset[int]
    start_us: int
    end_us: int
    reasons: frozenset[int]
    """What they wait for; empty: whatever it is."""
    explain: Explain

    def find(self, reader: Reader, execution_id: bytes) -> execution_pb2.Execution | None:
        """The execution, if it is kept and asked for."""
        value = reader.get(Table.EXECUTIONS, execution_id)
        return None if value is None else self.matching(execution_id, value)

    def matching(self, execution_id: bytes, value: bytes) -> execution_pb2.Execution | None:
        """The execution of a row, if it is asked for."""
        row = ExecutionRow.FromString(value)
        if (self.states and row.state not in self.states) or not self.start_us <= row.nominal_us < self.end_us:
            return None
        execution = public_execution(execution_id, row)
        self.explain(execution, row)
        return execution if not self.reasons or execution.waiting_reason in self.reasons else None


def read_execution(reader: Reader, execution_id: bytes, explain: Explain = untold) -> execution_pb2.Execution | None:
    """The execution, or None when retention has removed it or it never was."""
    value = reader.get(Table.EXECUTIONS, execution_id)
    if value is None:
        return None
    row = ExecutionRow.FromString(value)
    execution = public_execution(execution_id, row)
    explain(execution, row)
    return execution


async def list_executions(
    reader: Reader, request: execution_pb2.ListExecutionsRequest, explain: Explain = untold
) -> execution_pb2.ListExecutionsResponse:
    """One page, newest nominal time first. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, 100, 1_000)
    _check(request.task, request.start_time, request.end_time, list(request.states))
    _check_reasons(request)
    before = decode_token(request, request.page_token)
    page = await collect(_executions(reader, request, before, explain), limit)
    return execution_pb2.ListExecutionsResponse(
        executions=page.items, next_page_token=encode_token(request, page.last_key)
    )


async def list_attempts(
    reader: Reader, request: execution_pb2.ListAttemptsRequest, execution_id: bytes
) -> execution_pb2.ListAttemptsResponse | None:
    """One page, oldest first; None when there is no such execution. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, 100, 100)
    after = int.from_bytes(decode_token(request, request.page_token), "big")
    value = reader.get(Table.EXECUTIONS, execution_id)
    if value is None:
        return None
    row = ExecutionRow.FromString(value)
    attempts = [*past_attempts(reader, execution_id, row), present_attempt(row)]
    rows = ((be64(each.attempt), public_attempt(each)) for each in attempts if each.attempt > after)
    page = await collect(rows, limit)
    return execution_pb2.ListAttemptsResponse(attempts=page.items, next_page_token=encode_token(request, page.last_key))


def _check(task: str, start: Timestamp, end: Timestamp, states: list[int]) -> None:
    violations = Violations()
    if task:
        check_name(violations, "task", task)
    check_time(violations, "start_time", start)
    check_time(violations, "end_time", end)
    for state in states:
        check_enum(violations, "states", state, ExecutionState)
    violations.raise_any()


def _check_reasons(request: execution_pb2.ListExecutionsRequest) -> None:
    violations = Violations()
    for reason in request.waiting_reasons:
        check_enum(violations, "waiting_reasons", reason, execution_pb2.WaitingReason.values()[1:])
    if request.waiting_reasons and request.consistency == consistency_pb2.CONSISTENCY_STALE:
        violations.add("waiting_reasons", "only the leader knows what executions wait for: leave out STALE")
    violations.raise_any()


def _end_us(end: Timestamp) -> int:
    return timestamp_us(end) or MAX_US + 1


def _executions(reader: Reader, request: execution_pb2.ListExecutionsRequest, before: bytes, explain: Explain) -> _Rows:
    reasons = frozenset(request.waiting_reasons)
    wanted = _ExecutionFilter(
        frozenset(request.states) or (_UNSTARTED if reasons else frozenset()),
        timestamp_us(request.start_time),
        _end_us(request.end_time),
        reasons,
        explain,
    )
    if request.task:
        return _of_task(reader, request.task, wanted, before)
    first = ids.first_id(wanted.start_us)
    # Ids know whole milliseconds.
    stop = before or ids.first_id(wanted.end_us + _MILLISECOND_US - 1)
    if wanted.states and ExecutionState.SUCCEEDED not in wanted.states:
        return ((found, wanted.find(reader, found)) for found in _ids_by_state(reader, wanted.states, first, stop))
    rows = reader.scan(Table.EXECUTIONS, first, stop, reverse=True)
    return ((execution_id, wanted.matching(execution_id, value)) for execution_id, value in rows)


def _of_task(reader: Reader, task: str, wanted: _ExecutionFilter, before: bytes) -> _Rows:
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
    if states & ACTIVE_STATES:
        sources.append(_keys(reader, Table.ACTIVE, first, stop))
    sources += [
        _keys(reader, Table.FAILURES, failure_key(state, first), failure_key(state, stop), skip=1)
        for state in states
        if ExecutionState(state).ended
    ]
    return heapq.merge(*sources, reverse=True)


def _keys(reader: Reader, table: Table, first: bytes, stop: bytes, skip: int = 0) -> Iterator[bytes]:
    return (key[skip:] for key, _ in reader.scan(table, first, stop, reverse=True))
