"""What the ledger shows, of rows that a test lays down."""

import asyncio

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import execution_pb2

from raftsched.api.executions.ledger import list_ledger, list_ledgers
from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState, Trigger
from raftsched.core.state.rows import ExecutionRow, LedgerRow, ledger_key
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore

T0 = 1_800_000_000_000_000
SECOND = 1_000_000


class Rows:
    """Entries of one task."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def add(self, nominal_us: int, **fields: object) -> bytes:
        found = ids.execution_id(7, 1, nominal_us)
        row = LedgerRow(**{"decision": int(Decision.RAN), "trigger": int(Trigger.SCHEDULE), **fields})
        self.store.batch().put(Table.LEDGER, ledger_key("t", nominal_us, found), row.SerializeToString())
        self.store.commit()
        return found

    def execution(self, execution_id: bytes, state: ExecutionState, start_us: int) -> None:
        row = ExecutionRow(task="t", state=int(state), attempt=1, first_start_us=start_us)
        self.store.batch().put(Table.EXECUTIONS, execution_id, row.SerializeToString())
        self.store.commit()

    def entries(self, **fields: object) -> list[execution_pb2.LedgerEntry]:
        with self.store.read() as reader:
            request = execution_pb2.ListLedgerRequest(task="t", **fields)
            return list(asyncio.run(list_ledger(reader, request)).entries)

    def of_many(self, **fields: object) -> list[int]:
        """Nominal times, in seconds since T0."""
        with self.store.read() as reader:
            page = asyncio.run(list_ledgers(reader, execution_pb2.ListLedgersRequest(**fields)))
        return [(each.nominal_time.ToMicroseconds() - T0) // SECOND for each in page.entries]


def at(us: int) -> Timestamp:
    found = Timestamp()
    found.FromMicroseconds(us)
    return found


def test_without_an_end_the_last_time_that_there_is_is_listed_too() -> None:
    rows = Rows()
    for nominal_us in (T0, MAX_US - 1, MAX_US):
        rows.add(nominal_us)
    assert [each.nominal_time.ToMicroseconds() for each in rows.entries()] == [T0, MAX_US - 1, MAX_US]


@pytest.mark.parametrize(("start_s", "expected"), [(4, [0, 9]), (5, [0, 9]), (6, [9])])
def test_a_range_is_listed_if_it_goes_on_until_the_beginning_of_the_window(start_s: int, expected: list[int]) -> None:
    rows = Rows()
    rows.add(T0, last_nominal_us=T0 + 5 * SECOND, count=6, decision=int(Decision.SKIPPED))
    rows.add(T0 + 9 * SECOND)
    assert rows.of_many(start_time=at(T0 + start_s * SECOND)) == expected


SUCCEEDED, FAILED, PENDING = ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.PENDING


@pytest.mark.parametrize(
    ("executions", "state", "start_us"),
    [
        ([(SUCCEEDED, T0 + 5), (FAILED, T0 + 9)], FAILED, T0 + 9),
        ([(FAILED, T0 + 9), (SUCCEEDED, T0 + 5)], FAILED, T0 + 9),
        ([(SUCCEEDED, T0 + 5), (PENDING, 0)], PENDING, 0),
        ([(PENDING, 0), (SUCCEEDED, T0 + 5)], PENDING, 0),
    ],
)
def test_an_entry_of_several_executions_tells_of_the_one_that_started_last_or_has_not(
    executions: list[tuple[ExecutionState, int]], state: ExecutionState, start_us: int
) -> None:
    rows = Rows()
    nominal_id = rows.add(T0, executor_ids=["e1", "e2"])
    for executor_id, (of_one, started_us) in zip(("e1", "e2"), executions, strict=True):
        rows.execution(ids.pinned_id(nominal_id, executor_id), of_one, started_us)
    (entry,) = rows.entries()
    assert entry.execution_state == state
    assert (entry.start_time.ToMicroseconds() if entry.HasField("start_time") else 0) == start_us


def test_an_entry_of_which_an_execution_is_gone_tells_of_none() -> None:
    rows = Rows()
    nominal_id = rows.add(T0, executor_ids=["e1", "e2"])
    rows.execution(ids.pinned_id(nominal_id, "e1"), SUCCEEDED, T0 + 5)
    (entry,) = rows.entries()
    assert not entry.execution_state
    assert not entry.HasField("start_time")
