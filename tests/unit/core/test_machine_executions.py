"""The state machine on fires and attempts: decided once, guarded, and never taken back."""

import pytest

from raftsched.core import ids, machine
from raftsched.core.lifecycle import MAX_ATTEMPTS
from raftsched.core.model import Decision, Delivery, ExecutionState, Trigger
from raftsched.core.rows import ExecutionRow, decode_cursor, failure_key, parse_active, parse_ledger_key
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

T0 = 1_800_000_000 * SECOND
DUE = T0 + SECOND


class Fixture(MachineDriver):
    """One task named t that is due at DUE and every second from then on."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), now_us=T0)
        self.uid = self.register("t", next_us=DUE).results[0].uid

    def fire_due(self, executor_id: str = "", delivery: int = Delivery.AT_LEAST_ONCE) -> bytes:
        self.fire("t", self.uid, 1, DUE, next_us=DUE + SECOND, executor_id=executor_id, delivery=delivery)
        return ids.execution_id(self.uid, 1, DUE)

    def execution(self, execution_id: bytes) -> ExecutionRow:
        return ExecutionRow.FromString(self.get(Table.EXECUTIONS, execution_id))

    def report(
        self, execution_id: bytes, state: int, *, attempt: int = 1, executor_id: str = "e1", **fields: object
    ) -> None:
        command = self.command()
        item = command.report.items.add(id=execution_id, attempt=attempt, state=state, executor_id=executor_id)
        for name, value in fields.items():
            setattr(item, name, value)
        assert not self.apply(command).code

    def assign(self, execution_id: bytes, executor_id: str, *, attempt: int = 1) -> None:
        command = self.command()
        command.assign.items.add(id=execution_id, expected_attempt=attempt, executor_id=executor_id)
        assert not self.apply(command).code

    def expire(self, execution_id: bytes, *, attempt: int) -> None:
        command = self.command()
        command.expire.items.add(id=execution_id, expected_attempt=attempt, reason="its lease ran out")
        assert not self.apply(command).code

    def cancel(self, execution_id: bytes) -> pb.Outcome:
        command = self.command()
        command.cancel_execution.id = execution_id
        return self.apply(command)


@pytest.fixture
def driver() -> Fixture:
    return Fixture()


def test_a_fire_creates_the_execution_and_moves_the_cursor(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    row = driver.execution(execution_id)
    assert (row.state, row.attempt, row.executor_id) == (ExecutionState.ASSIGNED, 1, "e1")
    assert (row.fencing_token, row.trigger, row.nominal_us) == (driver.index, Trigger.SCHEDULE, DUE)
    assert parse_active(driver.get(Table.ACTIVE, execution_id)) == (1, "e1")
    cursor = decode_cursor(driver.get(Table.CURSORS, b"t"))
    assert (cursor.next_us, cursor.last_us) == (DUE + SECOND, DUE)
    [key] = driver.rows(Table.LEDGER)
    assert parse_ledger_key(key) == ("t", DUE, execution_id)


def test_a_fire_without_an_executor_leaves_the_execution_pending(driver: Fixture) -> None:
    execution_id = driver.fire_due()
    assert driver.execution(execution_id).state == ExecutionState.PENDING
    assert list(driver.rows(Table.PENDING)) == [execution_id]
    assert driver.rows(Table.ACTIVE) == {}


def test_the_same_fire_decides_once(driver: Fixture) -> None:
    driver.fire_due("e1")
    before = driver.dump()
    driver.fire_due("e2")
    assert driver.dump() == before


@pytest.mark.parametrize("change", ["pause", "delete", "replace"])
def test_a_fire_that_was_overtaken_by_a_change_does_nothing(driver: Fixture, change: str) -> None:
    if change == "pause":
        driver.replace("t", driver.index, paused=True)
    elif change == "delete":
        driver.delete("t")
    else:
        driver.replace("t", driver.index, schedule_changed=True)
    before = driver.dump()
    driver.fire_due("e1")
    assert driver.dump() == before


def test_a_fire_of_an_earlier_task_of_that_name_does_nothing(driver: Fixture) -> None:
    driver.delete("t")
    driver.register("t", next_us=DUE)
    driver.fire_due("e1")
    assert driver.rows(Table.EXECUTIONS) == {}


def test_skipped_and_coalesced_times_leave_a_record_but_no_execution(driver: Fixture) -> None:
    command = driver.command()
    item = command.fire.items.add(
        task="t", uid=driver.uid, generation=1, expected_next_us=DUE, next_us=DUE + 9 * SECOND
    )
    item.decided.add(nominal_us=DUE, last_nominal_us=DUE + 7 * SECOND, count=8, decision=Decision.COALESCED)
    item.decided.add(nominal_us=DUE + 8 * SECOND, last_nominal_us=DUE + 8 * SECOND, count=1, decision=Decision.RAN)
    driver.apply(command)
    rows = [pb.LedgerRow.FromString(value) for value in driver.rows(Table.LEDGER).values()]
    assert [(row.decision, row.count) for row in rows] == [(Decision.COALESCED, 8), (Decision.RAN, 1)]
    assert list(driver.rows(Table.EXECUTIONS)) == [ids.execution_id(driver.uid, 1, DUE + 8 * SECOND)]
    assert decode_cursor(driver.get(Table.CURSORS, b"t")).last_us == DUE + 8 * SECOND


def test_the_last_fire_finishes_the_task(driver: Fixture) -> None:
    applied = driver.fire("t", driver.uid, 1, DUE, next_us=0)
    assert applied.tasks == [], "its definition stays as it was"
    assert driver.rows(Table.DUE) == {}
    assert decode_cursor(driver.get(Table.CURSORS, b"t")).next_us == 0


def test_assign_takes_a_pending_execution_once(driver: Fixture) -> None:
    execution_id = driver.fire_due()
    driver.assign(execution_id, "e1")
    first = driver.execution(execution_id)
    driver.assign(execution_id, "e2")
    assert driver.execution(execution_id) == first
    assert first.executor_id == "e1"
    assert driver.rows(Table.PENDING) == {}


def test_a_success_ends_the_execution(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    driver.report(execution_id, ExecutionState.RUNNING, start_us=DUE + 1)
    driver.report(
        execution_id,
        ExecutionState.SUCCEEDED,
        start_us=DUE + 1,
        end_us=DUE + 5,
        exit_code=0,
        output_tail=b"done",
        output_size_bytes=4,
    )
    row = driver.execution(execution_id)
    assert (row.state, row.start_us, row.end_us, row.exit_code) == (ExecutionState.SUCCEEDED, DUE + 1, DUE + 5, 0)
    assert row.HasField("exit_code")
    assert not row.HasField("http_status")
    assert row.output_tail == b"done"
    assert driver.rows(Table.ACTIVE) == driver.rows(Table.FAILURES) == {}


@pytest.mark.parametrize("state", [ExecutionState.FAILED, ExecutionState.TIMED_OUT, ExecutionState.CANCELLED])
def test_what_did_not_succeed_is_indexed_by_its_state(driver: Fixture, state: ExecutionState) -> None:
    execution_id = driver.fire_due("e1")
    driver.report(execution_id, state, end_us=DUE + 5, error="why")
    assert driver.execution(execution_id).error == "why"
    assert list(driver.rows(Table.FAILURES)) == [failure_key(state, execution_id)]


def test_an_end_is_final(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    driver.report(execution_id, ExecutionState.FAILED, end_us=DUE + 5)
    before = driver.dump()
    for state in ExecutionState:
        driver.report(execution_id, state, end_us=DUE + 9)
    driver.expire(execution_id, attempt=1)
    assert driver.cancel(execution_id).code == machine.FAILED_PRECONDITION
    assert driver.dump() == before


@pytest.mark.parametrize(("attempt", "executor_id"), [(2, "e1"), (1, "e2"), (0, "e1")])
def test_a_report_of_another_attempt_or_executor_is_ignored(driver: Fixture, attempt: int, executor_id: str) -> None:
    execution_id = driver.fire_due("e1")
    before = driver.dump()
    driver.report(execution_id, ExecutionState.SUCCEEDED, attempt=attempt, executor_id=executor_id)
    assert driver.dump() == before


@pytest.mark.parametrize("state", [ExecutionState.PENDING, ExecutionState.ASSIGNED])
def test_an_executor_cannot_report_what_only_the_leader_decides(driver: Fixture, state: ExecutionState) -> None:
    execution_id = driver.fire_due("e1")
    driver.report(execution_id, state)
    assert driver.execution(execution_id).state == ExecutionState.ASSIGNED


def test_a_report_in_no_known_state_is_ignored(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    before = driver.dump()
    driver.report(execution_id, 99)
    assert driver.dump() == before


def test_a_vanished_executor_gives_a_further_attempt_with_a_higher_token(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    first_token = driver.execution(execution_id).fencing_token
    driver.expire(execution_id, attempt=1)
    row = driver.execution(execution_id)
    assert (row.state, row.attempt, row.executor_id) == (ExecutionState.PENDING, 2, "")
    assert driver.rows(Table.ACTIVE) == {}
    driver.assign(execution_id, "e2", attempt=2)
    assert driver.execution(execution_id).fencing_token > first_token


def test_a_late_report_of_a_lost_attempt_is_ignored(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    driver.expire(execution_id, attempt=1)
    driver.assign(execution_id, "e1", attempt=2)
    before = driver.dump()
    driver.report(execution_id, ExecutionState.SUCCEEDED, attempt=1)
    assert driver.dump() == before


def test_at_most_once_ends_as_lost(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1", Delivery.AT_MOST_ONCE)
    driver.expire(execution_id, attempt=1)
    row = driver.execution(execution_id)
    assert (row.state, row.attempt, row.error) == (ExecutionState.LOST, 1, "its lease ran out")


def test_an_executor_that_reports_an_attempt_as_lost_counts_as_vanished(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    driver.report(execution_id, ExecutionState.LOST, error="restarted")
    assert driver.execution(execution_id).state == ExecutionState.PENDING


def test_attempts_come_to_an_end(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        driver.expire(execution_id, attempt=attempt)
        driver.assign(execution_id, "e1", attempt=attempt + 1)
    row = driver.execution(execution_id)
    assert (row.state, row.attempt) == (ExecutionState.LOST, MAX_ATTEMPTS)
    assert driver.rows(Table.ACTIVE) == driver.rows(Table.PENDING) == {}


def test_cancel_ends_a_pending_execution_at_once(driver: Fixture) -> None:
    execution_id = driver.fire_due()
    assert driver.cancel(execution_id).execution_id == execution_id
    assert driver.execution(execution_id).state == ExecutionState.CANCELLED
    assert driver.rows(Table.PENDING) == {}
    driver.assign(execution_id, "e1")
    assert driver.execution(execution_id).state == ExecutionState.CANCELLED


def test_cancel_of_a_running_execution_is_a_wish_until_its_end_is_known(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    driver.cancel(execution_id)
    row = driver.execution(execution_id)
    assert (row.state, row.cancel_requested) == (ExecutionState.ASSIGNED, True)
    driver.expire(execution_id, attempt=1)
    assert driver.execution(execution_id).state == ExecutionState.CANCELLED


def test_cancel_of_an_unknown_execution_is_not_found(driver: Fixture) -> None:
    assert driver.cancel(bytes(16)).code == machine.NOT_FOUND


def test_run_fires_now_beside_the_schedule(driver: Fixture) -> None:
    command = driver.command()
    command.run_task.name = "t"
    first, second = driver.apply(command).execution_id, driver.apply(command).execution_id
    assert first != second, "two runs in the same microsecond are two executions"
    row = driver.execution(first)
    assert (row.trigger, row.nominal_us, row.state) == (Trigger.MANUAL, T0, ExecutionState.PENDING)
    assert decode_cursor(driver.get(Table.CURSORS, b"t")) == decode_cursor(
        pb.CursorRow(next_us=DUE).SerializeToString()
    )
    assert len(driver.rows(Table.LEDGER)) == 2


def test_run_of_an_unknown_task_is_not_found(driver: Fixture) -> None:
    command = driver.command()
    command.run_task.name = "nothing"
    assert driver.apply(command).code == machine.NOT_FOUND


def test_retention_removes_only_what_has_ended(driver: Fixture) -> None:
    running = driver.fire_due("e1")
    driver.fire("t", driver.uid, 1, DUE + SECOND, next_us=0, executor_id="e1")
    failed = ids.execution_id(driver.uid, 1, DUE + SECOND)
    driver.report(failed, ExecutionState.FAILED, end_us=DUE + 2 * SECOND)
    command = driver.command()
    command.retire.execution_ids.extend([running, failed])
    driver.apply(command)
    assert list(driver.rows(Table.EXECUTIONS)) == [running]
    assert driver.rows(Table.FAILURES) == {}


def test_retention_removes_ledger_rows(driver: Fixture) -> None:
    driver.fire_due("e1")
    command = driver.command()
    command.retire.ledger_keys.extend(driver.rows(Table.LEDGER))
    driver.apply(command)
    assert driver.rows(Table.LEDGER) == {}


def test_applied_lists_what_changed_as_it_is_afterwards(driver: Fixture) -> None:
    applied = driver.fire("t", driver.uid, 1, DUE, next_us=DUE + SECOND, executor_id="e1")
    [(execution_id, row)] = applied.executions
    assert row == driver.execution(execution_id)
