"""Which executions are listed, of rows that a test lays down."""

import asyncio
from collections.abc import Callable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import consistency_pb2, execution_pb2

from raftsched.api.executions.listing import list_attempts, list_executions, read_execution
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.past_attempts import AttemptRow
from raftsched.core.state.rows import ExecutionRow, LedgerRow, failure_key, ledger_key
from raftsched.definitions.violations import Invalid
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore

T0 = 1_800_000_000_000_000
SECOND = 1_000_000
FULL = execution_pb2.WAITING_REASON_NO_FREE_SLOT
NOBODY = execution_pb2.WAITING_REASON_NO_EXECUTOR
INDEX = {
    ExecutionState.PENDING: Table.PENDING,
    ExecutionState.ASSIGNED: Table.ACTIVE,
    ExecutionState.RUNNING: Table.ACTIVE,
}


class Rows:
    """Executions of one task, one each second, in states that a test gives."""

    def __init__(self, *states: ExecutionState, held: frozenset[int] = frozenset()) -> None:
        self.store = MemoryStore()
        batch = self.store.batch()
        self.ids: list[bytes] = []
        for second, state in enumerate(states):
            nominal_us = T0 + second * SECOND
            found = ids.execution_id(7, 1, nominal_us)
            self.ids.append(found)
            row = ExecutionRow(task="t", uid=7, state=int(state), nominal_us=nominal_us, attempt=1)
            batch.put(Table.EXECUTIONS, found, row.SerializeToString())
            ledger = LedgerRow(decision=int(Decision.RAN))
            batch.put(Table.LEDGER, ledger_key("t", nominal_us, found), ledger.SerializeToString())
            if state > ExecutionState.SUCCEEDED:
                batch.put(Table.FAILURES, failure_key(state, found), b"")
            elif state in INDEX:
                batch.put(Table.HELD if second in held else INDEX[state], found, b"")
        self.store.commit()

    def list(
        self, explain: Callable[[execution_pb2.Execution, ExecutionRow], None] | None = None, **fields: object
    ) -> list[int]:
        """The seconds of those on all pages."""
        request = execution_pb2.ListExecutionsRequest(**fields)
        found: list[int] = []
        while True:
            with self.store.read() as reader:
                arguments = (reader, request) if explain is None else (reader, request, explain)
                page = asyncio.run(list_executions(*arguments))
            found += [self.ids.index(ids.from_text(each.id)) for each in page.executions]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


P, A, R = ExecutionState.PENDING, ExecutionState.ASSIGNED, ExecutionState.RUNNING
S, F, C = ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED
ALL = (P, A, R, S, F, C, P, F)


@pytest.mark.parametrize("task", ["", "t"])
@pytest.mark.parametrize("page_size", [1, 3, 100])
@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), [7, 6, 5, 4, 3, 2, 1, 0]),
        ((P,), [6, 0]),
        ((A,), [1]),
        ((R,), [2]),
        ((S,), [3]),
        ((F, C), [7, 5, 4]),
        ((P, R, F), [7, 6, 4, 2, 0]),
        ((S, F), [7, 4, 3]),
    ],
)
def test_those_of_the_states_that_are_asked_for_newest_first(
    task: str, page_size: int, states: tuple[int, ...], expected: list[int]
) -> None:
    rows = Rows(*ALL, held=frozenset({6}))
    assert rows.list(task=task, page_size=page_size, states=states) == expected


@pytest.mark.parametrize("task", ["", "t"])
@pytest.mark.parametrize("states", [(), (P,)])
@pytest.mark.parametrize("shift_us", [-1, 0, 1])
def test_times_include_the_start_and_not_the_end(task: str, states: tuple[int, ...], shift_us: int) -> None:
    rows = Rows(P, P, P, P)
    begin, end = Timestamp(), Timestamp()
    begin.FromMicroseconds(T0 + SECOND + shift_us)
    end.FromMicroseconds(T0 + 3 * SECOND + shift_us)
    expected = {-1: [2, 1], 0: [2, 1], 1: [3, 2]}[shift_us]
    assert rows.list(task=task, states=states, start_time=begin, end_time=end) == expected


@pytest.mark.parametrize("task", ["", "t"])
def test_those_that_wait_for_what_is_asked_for(task: str) -> None:
    def explain(execution: execution_pb2.Execution, row: ExecutionRow) -> None:
        if row.state in (P, A):
            execution.waiting_reason = FULL if row.state == P else NOBODY

    rows = Rows(*ALL)
    assert rows.list(explain, task=task, waiting_reasons=[FULL]) == [6, 0]
    assert rows.list(explain, task=task, waiting_reasons=[NOBODY]) == [1]
    assert rows.list(explain, task=task, waiting_reasons=[FULL, NOBODY], states=[A, S]) == [1]
    with rows.store.read() as reader:
        found = read_execution(reader, rows.ids[0], explain)
        assert found is not None
        assert (found.task, found.waiting_reason) == ("t", FULL)
        assert read_execution(reader, bytes(16), explain) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"task": "?"}, ["task"]),
        ({"start_time": Timestamp(seconds=-5), "end_time": Timestamp(seconds=-5)}, ["end_time", "start_time"]),
        ({"states": [99]}, ["states"]),
        ({"waiting_reasons": [99]}, ["waiting_reasons"]),
        ({"waiting_reasons": [0]}, ["waiting_reasons"]),
        ({"waiting_reasons": [FULL], "consistency": consistency_pb2.CONSISTENCY_STALE}, ["waiting_reasons"]),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: dict[str, object], expected: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        Rows(P).list(**fields)
    assert sorted(violation.field for violation in refused.value.violations) == expected


def test_a_page_has_a_hundred_unless_the_request_says_otherwise() -> None:
    rows = Rows(*[S] * 101)
    with rows.store.read() as reader:
        page = asyncio.run(list_executions(reader, execution_pb2.ListExecutionsRequest()))
    assert (len(page.executions), bool(page.next_page_token)) == (100, True)


@pytest.mark.parametrize("page_size", [0, 200])
def test_a_page_of_attempts_has_at_most_a_hundred(page_size: int) -> None:
    rows = Rows(F)
    row = ExecutionRow(task="t", state=int(F), attempt=102)
    row.past_attempts.extend(AttemptRow(attempt=number, state=int(F)) for number in range(1, 102))
    rows.store.batch().put(Table.EXECUTIONS, rows.ids[0], row.SerializeToString())
    rows.store.commit()
    with rows.store.read() as reader:
        request = execution_pb2.ListAttemptsRequest(page_size=page_size)
        page = asyncio.run(list_attempts(reader, request, rows.ids[0]))
    assert page is not None
    assert len(page.attempts) == 100


def test_attempts_come_oldest_first_in_pages_and_of_nothing_there_are_none() -> None:
    rows = Rows(F)
    row = ExecutionRow(task="t", state=int(F), attempt=4)
    row.past_attempts.extend(AttemptRow(attempt=number, state=int(F)) for number in (1, 2, 3))
    rows.store.batch().put(Table.EXECUTIONS, rows.ids[0], row.SerializeToString())
    rows.store.commit()
    request = execution_pb2.ListAttemptsRequest(page_size=3)
    found = []
    with rows.store.read() as reader:
        for _ in range(2):
            page = asyncio.run(list_attempts(reader, request, rows.ids[0]))
            assert page is not None
            found.append([each.attempt for each in page.attempts])
            request.page_token = page.next_page_token
        assert asyncio.run(list_attempts(reader, execution_pb2.ListAttemptsRequest(), bytes(16))) is None
    assert found == [[1, 2, 3], [4]]
    assert not page.next_page_token
