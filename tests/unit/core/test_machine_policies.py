"""The state machine on overlap and retries: what is open is counted in the tables, where no proposer can be stale."""

from typing import Any

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState, OverlapPolicy
from raftsched.core.state.rows import ExecutionRow, LedgerRow, parse_ledger_key
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver
from tests.support.results import in_result

T0 = 1_800_000_000 * SECOND
PENDING, ASSIGNED, RUNNING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, EXPIRED, ARMED = ExecutionState


class Fixture(MachineDriver):
    """One task named t that is due each second after T0; each fire goes to executor e1."""

    def __init__(self, policy: OverlapPolicy = OverlapPolicy.ALLOW, running: int = 1, queued: int = 2) -> None:
        super().__init__(MemoryStore(), now_us=T0)
        self.limits = {"overlap_policy": policy, "max_running": running, "max_queued": queued}
        self.task = task_pb2.Task(name="t", overlap_policy=policy, max_running=running)
        self.executor_id = "e1"
        self.start_after_us = 0
        self.seconds = 0
        self.uid = 0

    def begin(self) -> "Fixture":
        command = self.command()
        command.register_tasks.items.add(task=self.task, next_us=T0 + SECOND)
        self.uid = self.apply(command).results[0].uid
        return self

    def fire_next(self, times: int = 1) -> bytes:
        """Fire the next nominal times in one entry; returns the id of the last."""
        command = self.command()
        first_us = T0 + (self.seconds + 1) * SECOND
        self.seconds += times
        item = command.fire.items.add(
            task="t",
            uid=self.uid,
            generation=1,
            expected_revision=self.revision("t"),
            expected_next_us=first_us,
            next_us=first_us + times * SECOND,
        )
        for name, value in self.limits.items():
            setattr(item, name, value)
        for number in range(times):
            at_us = first_us + number * SECOND
            item.decided.add(
                nominal_us=at_us,
                last_nominal_us=at_us,
                count=1,
                decision=Decision.RAN,
                executor_id=self.executor_id,
                start_us=self.start_after_us and at_us + self.start_after_us,
            )
        assert not self.apply(command).code
        return self.id_of(self.seconds)

    def id_of(self, second: int) -> bytes:
        return ids.execution_id(self.uid, 1, T0 + second * SECOND)

    def row(self, execution_id: bytes) -> ExecutionRow:
        return ExecutionRow.FromString(self.get(Table.EXECUTIONS, execution_id))

    def report(self, execution_id: bytes, state: int, **fields: Any) -> None:
        command = self.command()
        attempt = self.row(execution_id).attempt
        command.report.items.add(id=execution_id, attempt=attempt, executor_id="e1", state=state, **in_result(**fields))
        assert not self.apply(command).code

    def assign(self, execution_id: bytes) -> None:
        command = self.command()
        attempt = self.row(execution_id).attempt
        command.assign.items.add(id=execution_id, expected_attempt=attempt, executor_id="e1")
        assert not self.apply(command).code

    def wake(self) -> None:
        command = self.command()
        command.wake.SetInParent()
        for key in self.rows(Table.TIMERS):
            command.wake.items.add(due_us=int.from_bytes(key[:8], "big"), id=key[8:])
        assert not self.apply(command).code

    def cancel(self, execution_id: bytes) -> None:
        command = self.command()
        command.cancel_execution.id = execution_id
        assert not self.apply(command).code

    def states(self) -> list[int]:
        """Of the executions, oldest nominal time first."""
        return [ExecutionRow.FromString(row).state for row in self.rows(Table.EXECUTIONS).values()]

    def ledger(self) -> list[tuple[int, int, str]]:
        """Second, decision, reason."""
        found = []
        for key, value in self.rows(Table.LEDGER).items():
            row = LedgerRow.FromString(value)
            found.append(((parse_ledger_key(key)[1] - T0) // SECOND, row.decision, row.reason))
        return found


def test_allow_runs_beside_what_is_open_and_keeps_no_count() -> None:
    driver = Fixture().begin()
    driver.fire_next(3)
    assert driver.states() == [ASSIGNED] * 3
    assert driver.rows(Table.OPEN) == {}


def test_skip_leaves_a_record_with_the_reason_and_no_execution() -> None:
    driver = Fixture(OverlapPolicy.SKIP).begin()
    first = driver.fire_next()
    driver.fire_next()
    assert driver.states() == [ASSIGNED]
    reason = "1 of at most 1 executions were open; overlap policy SKIP"
    assert driver.ledger() == [(1, Decision.RAN, ""), (2, Decision.SKIPPED, reason)]
    driver.report(first, SUCCEEDED)
    driver.fire_next()
    assert driver.ledger()[2] == (3, Decision.RAN, "")


def test_nominal_times_of_one_entry_count_each_other() -> None:
    driver = Fixture(OverlapPolicy.SKIP, running=2).begin()
    driver.fire_next(5)
    skipped = Decision.SKIPPED
    assert [decision for _, decision, _ in driver.ledger()] == [Decision.RAN, Decision.RAN, skipped, skipped, skipped]


def test_a_proposer_that_does_not_know_of_an_open_execution_is_overruled() -> None:
    driver = Fixture(OverlapPolicy.SKIP).begin()
    command = driver.command()
    command.run_task.name = "t"
    driver.apply(command)
    driver.fire_next()
    assert driver.ledger()[-1][1] == Decision.SKIPPED


def test_manual_runs_are_not_held_back() -> None:
    driver = Fixture(OverlapPolicy.SKIP).begin()
    driver.fire_next()
    command = driver.command()
    command.run_task.name = "t"
    execution_id = driver.apply(command).execution_id
    assert driver.row(execution_id).state == PENDING


def test_queue_waits_its_turn_and_is_bounded() -> None:
    driver = Fixture(OverlapPolicy.QUEUE, queued=2).begin()
    driver.fire_next(4)
    assert driver.states() == [ASSIGNED, PENDING, PENDING]
    assert [decision for _, decision, _ in driver.ledger()] == [Decision.RAN] * 3 + [Decision.SKIPPED]
    assert driver.rows(Table.PENDING) == {}, "an executor could be given what is queued"
    assert set(driver.rows(Table.HELD)) == {driver.id_of(2), driver.id_of(3)}
    driver.report(driver.id_of(1), FAILED)
    assert list(driver.rows(Table.PENDING)) == [driver.id_of(2)]
    assert not driver.row(driver.id_of(2)).queued
    assert driver.row(driver.id_of(3)).queued


def test_what_is_queued_cannot_be_assigned() -> None:
    driver = Fixture(OverlapPolicy.QUEUE).begin()
    driver.fire_next(2)
    driver.assign(driver.id_of(2))
    assert driver.row(driver.id_of(2)).state == PENDING


def test_a_queued_execution_can_be_cancelled() -> None:
    driver = Fixture(OverlapPolicy.QUEUE).begin()
    driver.fire_next(3)
    driver.cancel(driver.id_of(2))
    assert driver.row(driver.id_of(2)).state == CANCELLED
    driver.report(driver.id_of(1), SUCCEEDED)
    assert list(driver.rows(Table.PENDING)) == [driver.id_of(3)]
    assert driver.rows(Table.HELD) == {}


def test_cancel_running_asks_for_the_end_of_the_oldest_and_waits_for_it() -> None:
    driver = Fixture(OverlapPolicy.CANCEL_RUNNING, running=2).begin()
    driver.fire_next(2)
    driver.fire_next()
    assert [driver.row(driver.id_of(second)).cancel_requested for second in (1, 2)] == [True, False]
    assert driver.row(driver.id_of(3)).queued
    driver.report(driver.id_of(1), CANCELLED, error="cancelled")
    assert "2027-01-15T08:00:03Z; overlap policy CANCEL_RUNNING" in driver.row(driver.id_of(1)).result.error
    assert list(driver.rows(Table.PENDING)) == [driver.id_of(3)]


def test_cancel_running_keeps_only_the_latest_of_those_that_wait() -> None:
    driver = Fixture(OverlapPolicy.CANCEL_RUNNING).begin()
    driver.fire_next()
    driver.fire_next(3)
    assert driver.states() == [ASSIGNED, CANCELLED, CANCELLED, PENDING]
    driver.report(driver.id_of(1), CANCELLED)
    assert driver.states() == [CANCELLED, CANCELLED, CANCELLED, PENDING]
    assert list(driver.rows(Table.PENDING)) == [driver.id_of(4)]


def retrying(max_attempts: int = 3, **fields: Any) -> Fixture:
    driver = Fixture()
    driver.task.retry.CopyFrom(task_pb2.RetryPolicy(max_attempts=max_attempts, **fields))
    return driver.begin()


def test_a_failed_attempt_is_followed_by_another_with_a_higher_token() -> None:
    driver = retrying()
    execution_id = driver.fire_next()
    token = driver.row(execution_id).fencing_token
    driver.report(execution_id, FAILED, exit_code=3, error="exit code 3", jitter_ppm=1_000_000)
    waiting = driver.row(execution_id)
    assert (waiting.state, waiting.attempt, waiting.not_before_us) == (PENDING, 2, T0 + SECOND)
    assert (driver.rows(Table.PENDING), list(driver.rows(Table.HELD))) == ({}, [execution_id])
    [past] = waiting.past_attempts
    assert (past.attempt, past.state, past.result.exit_code, past.result.error) == (1, FAILED, 3, "exit code 3")
    driver.wake()
    driver.assign(execution_id)
    assert driver.row(execution_id).fencing_token > token
    assert driver.rows(Table.TIMERS) == driver.rows(Table.HELD) == {}
    driver.report(execution_id, SUCCEEDED, exit_code=0)
    done = driver.row(execution_id)
    assert (done.state, done.attempt, done.result.error) == (SUCCEEDED, 2, "")


def test_the_last_attempt_ends_the_execution() -> None:
    driver = retrying(max_attempts=2)
    execution_id = driver.fire_next()
    driver.report(execution_id, TIMED_OUT)
    driver.wake()
    driver.assign(execution_id)
    driver.report(execution_id, FAILED)
    assert (driver.row(execution_id).state, driver.row(execution_id).attempt) == (FAILED, 2)


def test_what_waits_for_its_next_attempt_cannot_be_assigned_before() -> None:
    driver = retrying()
    execution_id = driver.fire_next()
    driver.report(execution_id, FAILED)
    driver.assign(execution_id)
    assert driver.row(execution_id).state == PENDING


def test_waiting_for_an_attempt_can_be_cancelled() -> None:
    driver = retrying()
    execution_id = driver.fire_next()
    driver.report(execution_id, FAILED)
    driver.cancel(execution_id)
    row = driver.row(execution_id)
    assert (row.state, row.result.error) == (CANCELLED, "cancelled while it waited for attempt 2")
    assert driver.rows(Table.TIMERS) == driver.rows(Table.HELD) == {}
    driver.wake()
    assert driver.row(execution_id).state == CANCELLED


@pytest.mark.parametrize("gone", ["deleted", "cancelled"])
def test_no_attempt_follows_for_a_task_that_is_gone_or_an_execution_that_is_not_wanted(gone: str) -> None:
    driver = retrying()
    execution_id = driver.fire_next()
    driver.delete("t") if gone == "deleted" else driver.cancel(execution_id)
    driver.report(execution_id, FAILED)
    assert driver.row(execution_id).state == FAILED


def test_a_waiting_execution_counts_as_open() -> None:
    driver = Fixture(OverlapPolicy.SKIP)
    driver.task.retry.max_attempts = 2
    driver.begin()
    driver.report(driver.fire_next(), FAILED)
    driver.fire_next()
    assert driver.ledger()[-1][1] == Decision.SKIPPED


def test_a_vanished_executor_uses_up_an_attempt_but_needs_no_wait() -> None:
    driver = retrying(max_attempts=7)
    execution_id = driver.fire_next()
    for attempt in range(1, 7):
        command = driver.command()
        command.expire.items.add(id=execution_id, expected_attempt=attempt, reason="its lease ran out")
        driver.apply(command)
        assert (driver.row(execution_id).state, driver.row(execution_id).attempt) == (PENDING, attempt + 1)
        driver.assign(execution_id)
    command = driver.command()
    command.expire.items.add(id=execution_id, expected_attempt=7, reason="its lease ran out")
    driver.apply(command)
    assert driver.row(execution_id).state == LOST
    assert [past.state for past in driver.row(execution_id).past_attempts] == [LOST] * 6


def with_deadline(**limits: Any) -> Fixture:
    """Its executions stay pending: no executor is named."""
    driver = Fixture(**limits)
    driver.limits["start_deadline_us"] = 30 * SECOND
    driver.executor_id = ""
    return driver.begin()


EXPIRED_REASON = "could not be given to an executor within its start deadline of 30 s"


def test_what_was_not_given_to_an_executor_in_time_expires_and_is_recorded_as_skipped() -> None:
    driver = with_deadline()
    execution_id = driver.fire_next()
    driver.wake()
    row = driver.row(execution_id)
    assert (row.state, row.result.error) == (EXPIRED, EXPIRED_REASON)
    assert driver.ledger() == [(1, Decision.SKIPPED, EXPIRED_REASON)]
    assert driver.rows(Table.PENDING) == driver.rows(Table.TIMERS) == {}


def test_what_was_given_to_an_executor_has_no_deadline_any_more() -> None:
    driver = with_deadline()
    execution_id = driver.fire_next()
    driver.assign(execution_id)
    assert driver.rows(Table.TIMERS) == {}
    driver.report(execution_id, SUCCEEDED)
    assert driver.ledger() == [(1, Decision.RAN, "")]


def test_what_is_queued_expires_too() -> None:
    driver = with_deadline(policy=OverlapPolicy.QUEUE)
    driver.executor_id = "e1"
    driver.fire_next(2)
    driver.wake()
    assert driver.states() == [ASSIGNED, EXPIRED]
    assert driver.rows(Table.HELD) == {}
    assert driver.ledger()[1][2].endswith(EXPIRED_REASON)


def test_a_decision_after_the_deadline_makes_no_execution() -> None:
    driver = with_deadline()
    driver.now_us = T0 + 31 * SECOND
    driver.fire_next(2)
    assert driver.ledger()[0] == (1, Decision.SKIPPED, EXPIRED_REASON)
    assert driver.states() == [PENDING]


def test_a_priority_has_an_index_of_its_own() -> None:
    driver = Fixture()
    driver.limits["priority"] = 5
    driver.executor_id = ""
    driver.begin()
    execution_id = driver.fire_next()
    assert driver.rows(Table.PENDING) == {}
    assert list(driver.rows(Table.RANKED)) == [bytes((123,)) + execution_id]
    driver.assign(execution_id)
    assert driver.rows(Table.RANKED) == driver.rows(Table.HELD) == {}


def test_jitter_puts_the_start_off_and_the_nominal_time_stays() -> None:
    driver = Fixture()
    driver.start_after_us = 500_000
    driver.begin()
    execution_id = driver.fire_next()
    row = driver.row(execution_id)
    assert (row.state, row.nominal_us, row.not_before_us) == (PENDING, T0 + SECOND, T0 + SECOND + 500_000)
    assert (driver.rows(Table.PENDING), list(driver.rows(Table.HELD))) == ({}, [execution_id])
    driver.wake()
    assert list(driver.rows(Table.PENDING)) == [execution_id]
    assert driver.row(execution_id).attempt == 1


def test_a_start_that_was_drawn_for_the_past_is_at_once() -> None:
    driver = Fixture()
    driver.start_after_us = 500_000
    driver.begin()
    driver.now_us = T0 + 2 * SECOND
    assert driver.row(driver.fire_next()).state == ASSIGNED


def test_wakes_that_come_too_late_or_twice_do_nothing() -> None:
    driver = retrying()
    execution_id = driver.fire_next()
    driver.report(execution_id, FAILED)
    due_us = driver.row(execution_id).not_before_us
    driver.wake()
    before = driver.dump()
    command = driver.command()
    command.wake.items.add(due_us=due_us, id=execution_id)
    command.wake.items.add(due_us=due_us, id=bytes(16))
    assert driver.apply(command) == pb.Outcome()
    assert driver.dump() == before


def test_an_execution_that_has_ended_waits_for_nothing() -> None:
    driver = retrying()
    execution_id = driver.fire_next()
    driver.report(execution_id, FAILED, error="no", jitter_ppm=1_000_000)
    assert driver.row(execution_id).not_before_us
    driver.cancel(execution_id)
    row = driver.row(execution_id)
    assert (row.state, row.not_before_us, row.start_by_us) == (CANCELLED, 0, 0)


def test_an_attempt_that_follows_another_has_no_start_deadline() -> None:
    driver = with_deadline()
    execution_id = driver.fire_next()
    assert driver.row(execution_id).start_by_us == T0 + 31 * SECOND
    driver.assign(execution_id)
    command = driver.command()
    command.expire.items.add(id=execution_id, expected_attempt=1, reason="gone")
    driver.apply(command)
    row = driver.row(execution_id)
    assert (row.state, row.attempt, row.start_by_us) == (PENDING, 2, 0)
    assert driver.rows(Table.TIMERS) == {}


def test_an_attempt_without_an_exit_code_is_retried_and_one_with_another_code_is_not() -> None:
    driver = retrying(exit_codes=[75])
    first, second, third = driver.fire_next(), driver.fire_next(), driver.fire_next()
    driver.report(first, FAILED, exit_code=75)
    driver.report(second, FAILED, exit_code=3)
    driver.report(third, FAILED)
    assert driver.states() == [PENDING, FAILED, PENDING]


def test_a_task_of_a_reused_name_has_no_say_in_the_attempts_of_the_one_before() -> None:
    driver = retrying()
    execution_id = driver.fire_next()
    driver.delete("t")
    driver.begin()
    driver.report(execution_id, FAILED)
    assert driver.row(execution_id).state == FAILED


def test_a_wake_that_comes_too_late_takes_no_other_with_it() -> None:
    driver = retrying()
    first, second = driver.fire_next(), driver.fire_next()
    for execution_id in (first, second):
        driver.report(execution_id, FAILED, jitter_ppm=1_000_000)
    due_us = driver.row(second).not_before_us
    command = driver.command()
    for execution_id, at_us in ((b"?" * 16, due_us), (first, due_us + 1), (first, 0), (second, due_us)):
        command.wake.items.add(due_us=at_us, id=execution_id)
    driver.apply(command)
    assert list(driver.rows(Table.PENDING)) == [second]
    assert list(driver.rows(Table.HELD)) == [first]
