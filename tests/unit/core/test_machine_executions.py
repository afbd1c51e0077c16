"""The state machine on fires and attempts: decided once, guarded, and never taken back."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core import machine
from raftsched.core.state import ids
from raftsched.core.state.lifecycle import MAX_ATTEMPTS
from raftsched.core.state.model import Decision, Delivery, ExecutionState, OverlapPolicy, Trigger
from raftsched.core.state.rows import ExecutionRow, decode_cursor, failure_key, parse_active, parse_ledger_key
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver
from tests.support.results import in_result

T0 = 1_800_000_000 * SECOND
DUE = T0 + SECOND


class Fixture(MachineDriver):
    """One task named t that is due at DUE and every second from then on."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), now_us=T0)
        self.uid = self.register("t", next_us=DUE).results[0].uid
        self.seen_revision = self.revision("t")

    def fire_due(self, executor_id: str = "", delivery: int = Delivery.AT_LEAST_ONCE) -> bytes:
        """As a leader does that has seen the task as it was registered."""
        self.fire(
            "t",
            self.uid,
            1,
            DUE,
            next_us=DUE + SECOND,
            executor_id=executor_id,
            delivery=delivery,
            revision=self.seen_revision,
        )
        return ids.execution_id(self.uid, 1, DUE)

    def execution(self, execution_id: bytes) -> ExecutionRow:
        return ExecutionRow.FromString(self.get(Table.EXECUTIONS, execution_id))

    def report(
        self, execution_id: bytes, state: int, *, attempt: int = 1, executor_id: str = "e1", **fields: object
    ) -> None:
        command = self.command()
        item = command.report.items.add(id=execution_id, attempt=attempt, state=state, executor_id=executor_id)
        item.MergeFrom(pb.Report.Item(**in_result(**fields)))
        command.now_us = max(self.now_us, item.result.start_us, item.result.end_us)
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
    assert (row.fencing_token, row.trigger, row.nominal_us) == (driver.index << 8, Trigger.SCHEDULE, DUE)
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


@pytest.mark.parametrize("change", ["pause", "delete", "schedule", "terms"])
def test_a_fire_that_was_overtaken_by_a_change_does_nothing(driver: Fixture, change: str) -> None:
    if change == "pause":
        driver.replace("t", driver.index, paused=True)
    elif change == "delete":
        driver.delete("t")
    else:
        driver.replace("t", driver.index, schedule_changed=change == "schedule")
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
        task="t",
        uid=driver.uid,
        generation=1,
        expected_revision=driver.revision("t"),
        expected_next_us=DUE,
        next_us=DUE + 9 * SECOND,
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
    assert (row.state, row.result.start_us, row.result.end_us, row.result.exit_code) == (
        ExecutionState.SUCCEEDED,
        DUE + 1,
        DUE + 5,
        0,
    )
    assert row.result.HasField("exit_code")
    assert not row.result.HasField("http_status")
    assert row.result.output_tail == b"done"
    assert driver.rows(Table.ACTIVE) == driver.rows(Table.FAILURES) == {}


@pytest.mark.parametrize(
    ("start_us", "end_us", "recorded"),
    [
        pytest.param(T0 - 86_400 * SECOND, T0 - 86_399 * SECOND, (T0, T0), id="before it was decided"),
        pytest.param(T0 + 86_400 * SECOND, T0 + 86_401 * SECOND, (T0 + 9, T0 + 9), id="after the report came"),
        pytest.param(T0 + 5, T0 + 2, (T0 + 5, T0 + 5), id="an end before the start"),
        pytest.param(T0 + 5, 0, (T0 + 5, T0 + 9), id="no end"),
        pytest.param(0, T0 + 5, (0, T0 + 5), id="no start"),
    ],
)
def test_times_that_cannot_be_true_do_not_enter_the_record(
    driver: Fixture, start_us: int, end_us: int, recorded: tuple[int, int]
) -> None:
    execution_id = driver.fire_due("e1")
    driver.now_us += 9
    command = driver.command()
    command.report.items.add(
        id=execution_id,
        attempt=1,
        executor_id="e1",
        state=ExecutionState.SUCCEEDED,
        **in_result(start_us=start_us, end_us=end_us),
    )
    driver.apply(command)
    row = driver.execution(execution_id)
    assert (row.result.start_us, row.result.end_us) == recorded


@pytest.mark.parametrize("state", [ExecutionState.FAILED, ExecutionState.TIMED_OUT, ExecutionState.CANCELLED])
def test_what_did_not_succeed_is_indexed_by_its_state(driver: Fixture, state: ExecutionState) -> None:
    execution_id = driver.fire_due("e1")
    driver.report(execution_id, state, end_us=DUE + 5, error="why")
    assert driver.execution(execution_id).result.error == "why"
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


def test_a_late_report_of_a_lost_attempt_decides_nothing(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1")
    driver.expire(execution_id, attempt=1)
    driver.assign(execution_id, "e1", attempt=2)
    driver.report(execution_id, ExecutionState.SUCCEEDED, attempt=1)
    row = driver.execution(execution_id)
    assert (row.state, row.attempt) == (ExecutionState.ASSIGNED, 2)
    assert list(driver.rows(Table.ACTIVE)) == [execution_id]


def test_at_most_once_ends_as_lost(driver: Fixture) -> None:
    execution_id = driver.fire_due("e1", Delivery.AT_MOST_ONCE)
    driver.expire(execution_id, attempt=1)
    row = driver.execution(execution_id)
    assert (row.state, row.attempt, row.result.error) == (ExecutionState.LOST, 1, "its lease ran out")


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


def test_run_on_an_executor_is_assigned_at_once_and_counts_for_no_overlap_policy(driver: Fixture) -> None:
    command = driver.command()
    command.register_tasks.items.add(task=task_pb2.Task(name="beside", overlap_policy=OverlapPolicy.ALLOW))
    driver.apply(command)
    command = driver.command()
    command.run_task.name = "beside"
    command.run_task.executor_id = "e1"
    row = driver.execution(driver.apply(command).execution_id)
    assert (row.state, row.executor_id, row.attempt) == (ExecutionState.ASSIGNED, "e1", 1)
    assert (row.max_running, driver.rows(Table.OPEN)) == (0, {})


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


def test_what_is_dropped_of_a_report_takes_nothing_else_with_it(driver: Fixture) -> None:
    first = driver.fire_due("e1")
    driver.fire("t", driver.uid, 1, DUE + SECOND, next_us=0, executor_id="e1")
    second = ids.execution_id(driver.uid, 1, DUE + SECOND)
    command = driver.command()
    running = {"attempt": 1, "executor_id": "e1"}
    for item in (
        pb.Report.Item(id=b"?" * 16, state=ExecutionState.SUCCEEDED, **running),
        pb.Report.Item(id=first, state=ExecutionState.SUCCEEDED, attempt=1, executor_id="other"),
        pb.Report.Item(id=first, state=ExecutionState.SUCCEEDED, attempt=2, executor_id="e1"),
        pb.Report.Item(id=first, state=99, **running),
        pb.Report.Item(id=first, state=ExecutionState.PENDING, **running),
        pb.Report.Item(id=first, output_copy_node_id="n2", **running),
        pb.Report.Item(id=second, state=ExecutionState.RUNNING, **running),
    ):
        command.report.items.append(item)
    driver.apply(command)
    found = driver.execution(first)
    assert (found.state, found.output_copy_node_id) == (ExecutionState.ASSIGNED, "n2")
    assert driver.execution(second).state == ExecutionState.RUNNING


def test_what_is_dropped_of_expired_leases_takes_nothing_else_with_it(driver: Fixture) -> None:
    held = driver.fire_due("e1")
    command = driver.command()
    for execution_id, attempt in ((b"?" * 16, 1), (held, 2), (held, 1)):
        command.expire.items.add(id=execution_id, expected_attempt=attempt, reason="its lease ran out")
    driver.apply(command)
    row = driver.execution(held)
    assert (row.state, row.attempt, row.result.error) == (ExecutionState.PENDING, 2, "its lease ran out")


def test_a_report_of_an_attempt_that_was_taken_back_is_kept_only_when_it_is_an_end(driver: Fixture) -> None:
    held = driver.fire_due("e1")
    driver.expire(held, attempt=1)
    before = driver.dump()
    for state in (ExecutionState.RUNNING, 99):
        driver.report(held, state, attempt=1)
    driver.report(held, ExecutionState.SUCCEEDED, attempt=0)
    assert driver.dump() == before
    driver.report(held, ExecutionState.SUCCEEDED, attempt=1, start_us=DUE, end_us=DUE + SECOND)
    [past] = driver.execution(held).past_attempts
    assert (past.state, past.told) == (ExecutionState.LOST, True)


def test_a_late_report_takes_nothing_else_with_it(driver: Fixture) -> None:
    late = driver.fire_due("e1")
    driver.expire(late, attempt=1)
    driver.assign(late, "e1", attempt=2)
    command = driver.command()
    for attempt in (1, 2):
        command.report.items.add(id=late, attempt=attempt, executor_id="e1", state=ExecutionState.SUCCEEDED)
    driver.apply(command)
    assert driver.execution(late).state == ExecutionState.SUCCEEDED


def test_what_an_executor_itself_calls_lost_was_told(driver: Fixture) -> None:
    held = driver.fire_due("e1", delivery=Delivery.AT_MOST_ONCE)
    driver.report(held, ExecutionState.LOST, error="restarted")
    row = driver.execution(held)
    assert (row.state, row.told, row.result.error) == (ExecutionState.LOST, True, "restarted")
