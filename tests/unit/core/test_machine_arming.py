"""The state machine on what is decided ahead: armed, withdrawn, given back."""

import pytest
from google.protobuf.duration_pb2 import Duration
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine import INVALID_ARGUMENT, arming
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, Delivery, ExecutionState, OverlapPolicy, Withdrawal
from raftsched.core.state.rows import ExecutionRow, LedgerRow, timer_key
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

T0 = 1_800_000_000 * SECOND
DUE = T0 + SECOND
PENDING, ASSIGNED, RUNNING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, EXPIRED, ARMED = ExecutionState


class Fixture(MachineDriver):
    """One task named t that is due at DUE and every second from then on, armed on e1 for DUE."""

    def __init__(self, delivery: int = Delivery.AT_LEAST_ONCE) -> None:
        super().__init__(MemoryStore(), now_us=T0)
        self.delivery = delivery
        self.uid = self.register("t", next_us=DUE).results[0].uid
        self.arm(DUE)
        self.id = ids.execution_id(self.uid, 1, DUE)

    def arm(self, nominal_us: int, **terms: object) -> pb.Outcome:
        command = self.command()
        item = command.fire.items.add(
            task="t",
            uid=self.uid,
            generation=1,
            expected_revision=self.revision("t"),
            expected_next_us=nominal_us,
            next_us=nominal_us + SECOND,
            delivery=self.delivery,
            **terms,
        )
        item.decided.add(
            nominal_us=nominal_us,
            last_nominal_us=nominal_us,
            count=1,
            decision=Decision.RAN,
            executor_id="e1",
            armed=True,
        )
        return self.apply(command)

    @property
    def row(self) -> ExecutionRow:
        return ExecutionRow.FromString(self.get(Table.EXECUTIONS, self.id))

    @property
    def entry(self) -> LedgerRow:
        [value] = self.rows(Table.LEDGER).values()
        return LedgerRow.FromString(value)

    def change(self, *, paused: bool = False, kept_us: tuple[int, ...] | None = None, **fields: object) -> pb.Outcome:
        command = self.command()
        body = command.replace_task
        body.task.CopyFrom(task_pb2.Task(name="t", paused=paused, **fields))
        body.expected_revision = self.revision("t")
        if kept_us is not None:
            body.schedule_changed = body.moves_cursor = True
            body.expected_next_us, body.next_us = DUE + SECOND, DUE + 5 * SECOND
            body.kept_us.extend(kept_us)
        return self.apply(command)

    def report(self, state: int, *, token: int = 0, now_us: int = T0) -> None:
        command = self.command()
        command.now_us = now_us
        command.report.items.add(id=self.id, attempt=1, state=state, executor_id="e1", fencing_token=token)
        assert not self.apply(command).code

    def give_back(self, now_us: int = T0) -> None:
        self.report(PENDING, token=self.row.fencing_token, now_us=now_us)

    def expire(self) -> None:
        command = self.command()
        command.expire.items.add(id=self.id, expected_attempt=1, reason="its lease ran out")
        assert not self.apply(command).code


@pytest.fixture
def driver() -> Fixture:
    return Fixture()


def test_what_is_decided_ahead_is_armed_on_an_executor(driver: Fixture) -> None:
    row = driver.row
    assert (row.state, row.attempt, row.executor_id, row.nominal_us) == (ARMED, 1, "e1", DUE)
    assert row.fencing_token > 0
    assert list(driver.rows(Table.ACTIVE)) == [driver.id]
    assert driver.entry.decision == Decision.RAN
    assert driver.entry.decide_us == T0


def test_one_whose_time_has_come_is_assigned_all_the_same(driver: Fixture) -> None:
    driver.now_us = DUE + 2 * SECOND
    driver.arm(DUE + SECOND)
    second = ids.execution_id(driver.uid, 1, DUE + SECOND)
    assert ExecutionRow.FromString(driver.get(Table.EXECUTIONS, second)).state == ASSIGNED


@pytest.mark.parametrize(
    "terms",
    [{"group": "g"}, {"overlap_policy": OverlapPolicy.SKIP, "max_running": 1}, {"executor_ids": ["e1"]}],
    ids=["group", "overlap", "every"],
)
def test_what_waits_for_more_than_its_time_cannot_be_armed(driver: Fixture, terms: dict[str, object]) -> None:
    before = driver.dump()
    assert driver.arm(DUE + SECOND, **terms).code == INVALID_ARGUMENT
    assert driver.dump() == before


@pytest.mark.parametrize("state", [RUNNING, SUCCEEDED, FAILED])
def test_it_goes_on_as_its_executor_says(driver: Fixture, state: ExecutionState) -> None:
    driver.report(state, now_us=DUE)
    assert driver.row.state == state


def test_a_pause_withdraws_it_and_skips_it_when_the_executor_says_that_it_has_not_started(driver: Fixture) -> None:
    assert list(driver.change(paused=True).withdrawn) == [driver.id]
    assert (driver.row.state, driver.row.withdrawn) == (ARMED, Withdrawal.SKIP)
    driver.give_back()
    assert (driver.row.state, driver.row.withdrawn, driver.row.result.error) == (CANCELLED, 0, "the task was paused")
    assert (driver.entry.decision, driver.entry.reason) == (Decision.SKIPPED, "the task was paused")
    assert not driver.rows(Table.ACTIVE)


def test_a_deletion_withdraws_it(driver: Fixture) -> None:
    command = driver.command()
    command.delete_task.name = "t"
    assert list(driver.apply(command).withdrawn) == [driver.id]
    driver.give_back()
    assert (driver.row.state, driver.entry.decision) == (CANCELLED, Decision.SKIPPED)
    assert driver.entry.reason == "the task was deleted"


def test_one_that_has_started_when_it_is_withdrawn_goes_on(driver: Fixture) -> None:
    driver.change(paused=True)
    driver.report(RUNNING, now_us=DUE)
    assert (driver.row.state, driver.row.withdrawn, driver.row.result.error) == (RUNNING, 0, "")
    assert driver.entry.decision == Decision.RAN
    # What comes late says nothing any more.
    driver.give_back()
    assert driver.row.state == RUNNING


def test_a_change_of_the_terms_has_it_run_on_the_new_ones(driver: Fixture) -> None:
    driver.change(delivery=Delivery.AT_MOST_ONCE, priority=3)
    assert driver.row.withdrawn == Withdrawal.AGAIN
    assert driver.row.delivery == Delivery.AT_LEAST_ONCE, "it may have started on the old ones"
    driver.give_back()
    row = driver.row
    assert (row.state, row.attempt, row.not_before_us, row.executor_id, row.withdrawn) == (PENDING, 1, DUE, "", 0)
    assert (row.delivery, row.priority) == (Delivery.AT_MOST_ONCE, 3)
    assert list(driver.rows(Table.TIMERS)) == [timer_key(DUE, driver.id)]
    assert not driver.rows(Table.ACTIVE)
    assert driver.entry.decision == Decision.RAN


@pytest.mark.parametrize(("deadline_s", "start_by_us"), [(0, 0), (7, DUE + 7 * SECOND)])
def test_it_is_to_start_by_the_deadline_that_its_task_has_now(
    driver: Fixture, deadline_s: int, start_by_us: int
) -> None:
    driver.change(start_deadline=Duration(seconds=30))
    driver.give_back()
    assert driver.row.start_by_us == DUE + 30 * SECOND
    driver.change(start_deadline=Duration(seconds=deadline_s) if deadline_s else None)
    assert driver.row.start_by_us == start_by_us


@pytest.mark.parametrize(("kept_us", "state"), [((DUE,), PENDING), ((), CANCELLED), ((DUE + 1,), CANCELLED)])
def test_a_new_schedule_keeps_it_only_if_it_has_its_time(
    driver: Fixture, kept_us: tuple[int, ...], state: ExecutionState
) -> None:
    driver.change(kept_us=kept_us)
    driver.give_back()
    assert driver.row.state == state


def test_a_pause_after_a_change_skips_it(driver: Fixture) -> None:
    driver.change(priority=3)
    driver.change(priority=3, paused=True)
    driver.give_back()
    assert driver.row.state == CANCELLED


def test_a_change_after_a_pause_does_not_bring_it_back(driver: Fixture) -> None:
    driver.change(paused=True)
    driver.change(paused=False, priority=3)
    driver.give_back()
    assert driver.row.state == CANCELLED


def test_what_an_executor_gives_back_of_itself_waits_for_another(driver: Fixture) -> None:
    driver.give_back(now_us=DUE)
    assert (driver.row.state, driver.row.not_before_us) == (PENDING, 0)
    assert list(driver.rows(Table.PENDING)) == [driver.id]


def test_a_word_about_an_earlier_assignment_gives_nothing_back(driver: Fixture) -> None:
    token = driver.row.fencing_token
    driver.give_back(now_us=DUE)
    command = driver.command()
    command.assign.items.add(id=driver.id, expected_attempt=1, executor_id="e1")
    driver.apply(command)
    driver.report(PENDING, token=token, now_us=DUE)
    assert driver.row.state == ASSIGNED


def test_a_cancelled_one_ends_as_it_is_given_back(driver: Fixture) -> None:
    command = driver.command()
    command.cancel_execution.id = driver.id
    driver.apply(command)
    assert driver.row.state == ARMED
    driver.give_back()
    assert driver.row.state == CANCELLED
    assert driver.entry.decision == Decision.RAN


@pytest.mark.parametrize(
    ("delivery", "state"), [(Delivery.AT_LEAST_ONCE, PENDING), (Delivery.AT_MOST_ONCE, LOST)], ids=str
)
def test_one_whose_executor_vanishes_is_judged_as_one_that_was_assigned(
    delivery: Delivery, state: ExecutionState
) -> None:
    driver = Fixture(delivery)
    driver.expire()
    assert driver.row.state == state


def test_one_whose_executor_vanishes_long_before_its_time_waits_for_its_time(driver: Fixture) -> None:
    driver.expire()
    assert (driver.row.state, driver.row.attempt) == (PENDING, 2)
    assert driver.row.not_before_us == driver.row.nominal_us > driver.now_us
    assert not driver.rows(Table.PENDING)


def test_one_that_was_withdrawn_does_not_run_again_when_its_executor_vanishes(driver: Fixture) -> None:
    driver.change(paused=True)
    driver.expire()
    assert (driver.row.state, driver.row.withdrawn, driver.entry.decision) == (LOST, 0, Decision.LOST)
    assert "the task was paused; whether it had started is not known" in driver.row.result.error


def test_one_that_was_to_run_on_new_terms_is_withdrawn_no_more_when_its_executor_has_vanished(driver: Fixture) -> None:
    driver.change(priority=3)
    driver.expire()
    assert (driver.row.state, driver.row.withdrawn) == (PENDING, 0)


def test_a_withdrawn_one_tells_no_task_that_runs_after_it(driver: Fixture) -> None:
    child = task_pb2.Task(name="child")
    child.after.add(task="t", on=task_pb2.CHAIN_CONDITION_COMPLETION)
    command = driver.command()
    command.register_tasks.items.add(task=child)
    assert not driver.apply(command).results[0].code
    driver.change(paused=True)
    driver.give_back()
    assert driver.row.state == CANCELLED
    assert len(driver.rows(Table.EXECUTIONS)) == 1
    assert len(driver.rows(Table.LEDGER)) == 1


def test_one_that_was_given_back_before_its_time_is_skipped_at_once_by_a_pause(driver: Fixture) -> None:
    driver.give_back()
    assert not driver.change(paused=True).withdrawn
    assert (driver.row.state, driver.entry.decision) == (CANCELLED, Decision.SKIPPED)
    assert driver.row.result.error == "the task was paused"
    assert not driver.rows(Table.TIMERS)
    assert not driver.rows(Table.HELD)


def test_one_that_was_given_back_before_its_time_waits_on_the_new_terms(driver: Fixture) -> None:
    driver.give_back()
    assert not driver.change(priority=3).withdrawn
    assert (driver.row.state, driver.row.priority) == (PENDING, 3)
    command = driver.command()
    command.now_us = DUE
    command.wake.items.add(due_us=DUE, id=driver.id)
    driver.apply(command)
    assert [key[1:] for key in driver.rows(Table.RANKED)] == [driver.id]


def test_one_whose_time_had_come_goes_on_waiting(driver: Fixture) -> None:
    driver.give_back(now_us=DUE)
    driver.now_us = DUE
    driver.change(paused=True)
    assert driver.row.state == PENDING


def test_one_that_waits_for_its_turn_goes_on_waiting(driver: Fixture) -> None:
    driver.change(priority=3)
    driver.give_back(now_us=DUE)
    assert list(driver.rows(Table.HELD)) == [driver.id]
    driver.now_us = DUE
    driver.change(priority=3, paused=True)
    assert driver.row.state == PENDING


def test_one_whose_time_has_come_while_it_waited_for_it_goes_on_waiting(driver: Fixture) -> None:
    driver.give_back()
    driver.now_us = DUE
    driver.change(paused=True)
    assert driver.row.state == PENDING


def test_it_is_withdrawn_whatever_came_before_it_and_whatever_became_of_what_comes_after_it(driver: Fixture) -> None:
    driver.report(SUCCEEDED)
    driver.now_us = DUE + 2_000 * SECOND
    command = driver.command()
    body = command.replace_task
    body.task.name, body.expected_revision = "t", driver.revision("t")
    body.moves_cursor, body.expected_next_us, body.next_us = True, DUE + SECOND, driver.now_us + SECOND
    assert not driver.apply(command).code
    armed_us, later_us = driver.now_us + SECOND, driver.now_us + 2 * SECOND
    driver.arm(armed_us)
    driver.arm(later_us)
    driver.id = ids.execution_id(driver.uid, 1, later_us)
    driver.report(SUCCEEDED, now_us=later_us)
    assert list(driver.change(paused=True).withdrawn) == [ids.execution_id(driver.uid, 1, armed_us)]


def test_what_is_of_an_earlier_task_of_the_same_name_is_left_as_it_is(driver: Fixture) -> None:
    driver.arm(DUE + SECOND)
    later = ids.execution_id(driver.uid, 1, DUE + SECOND)
    driver.delete("t")
    driver.uid = driver.register("t", next_us=DUE).results[0].uid
    driver.arm(DUE)
    assert list(driver.change(paused=True).withdrawn) == [ids.execution_id(driver.uid, 1, DUE)]
    for execution_id in (driver.id, later):
        row = ExecutionRow.FromString(driver.get(Table.EXECUTIONS, execution_id))
        assert (row.withdrawn, row.result.error) == (Withdrawal.SKIP, "the task was deleted")


@pytest.mark.parametrize(("late_us", "is_found"), [(0, True), (1, False)])
def test_what_is_armed_is_looked_for_among_the_nominal_times_of_the_last_quarter_of_an_hour(
    driver: Fixture, late_us: int, is_found: bool
) -> None:
    driver.now_us = DUE + 900 * SECOND + late_us
    assert bool(driver.change(paused=True).withdrawn) == is_found


def test_no_more_entries_than_the_bound_are_looked_at(driver: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arming, "_MAX_ENTRIES", 1)
    driver.arm(DUE + SECOND)
    assert list(driver.change(paused=True).withdrawn) == [ids.execution_id(driver.uid, 1, DUE + SECOND)]


def test_a_new_schedule_decides_at_once_what_lies_before_what_was_decided_ahead(driver: Fixture) -> None:
    """Its cursor goes on behind that, so that nobody would decide them otherwise."""
    between_us = DUE - SECOND // 2
    driver.change(kept_us=(between_us, DUE))
    between = ids.execution_id(driver.uid, 2, between_us)
    row = ExecutionRow.FromString(driver.get(Table.EXECUTIONS, between))
    assert (row.state, row.not_before_us, row.nominal_us) == (PENDING, between_us, between_us)
    assert len(driver.rows(Table.EXECUTIONS)) == 2
    entries = [LedgerRow.FromString(value) for value in driver.rows(Table.LEDGER).values()]
    assert [(entry.decision, entry.count) for entry in entries] == [(Decision.RAN, 1), (Decision.RAN, 1)]
    assert driver.row.withdrawn == Withdrawal.AGAIN


def test_a_new_schedule_decides_what_lies_behind_a_time_that_both_have(driver: Fixture) -> None:
    behind_us = DUE + SECOND // 2
    driver.change(kept_us=(DUE, behind_us))
    row = ExecutionRow.FromString(driver.get(Table.EXECUTIONS, ids.execution_id(driver.uid, 2, behind_us)))
    assert (row.state, row.nominal_us) == (PENDING, behind_us)
    assert len(driver.rows(Table.LEDGER)) == 2


@pytest.mark.parametrize("of", ["an earlier task", "a run by hand"])
def test_a_new_schedule_decides_a_time_at_which_something_else_was_decided(driver: Fixture, of: str) -> None:
    if of == "an earlier task":
        decided_us = DUE
        driver.delete("t")
        driver.uid = driver.register("t", next_us=DUE + SECOND).results[0].uid
    else:
        decided_us = T0 + 1
        driver.now_us = decided_us
        command = driver.command()
        command.run_task.name = "t"
        assert not driver.apply(command).code
    assert not driver.change(kept_us=(decided_us,)).code
    assert ids.execution_id(driver.uid, 2, decided_us) in driver.rows(Table.EXECUTIONS)


def test_a_new_schedule_of_a_paused_task_skips_what_lies_before_what_was_decided_ahead(driver: Fixture) -> None:
    driver.change(kept_us=(DUE - 1, DUE), paused=True)
    decisions = [LedgerRow.FromString(value) for value in driver.rows(Table.LEDGER).values()]
    assert [(row.decision, row.reason) for row in decisions] == [
        (Decision.SKIPPED, "the task was paused"),
        (Decision.RAN, ""),
    ]
    driver.give_back()
    assert driver.row.state == CANCELLED


def test_a_new_schedule_does_not_decide_again_what_has_started(driver: Fixture) -> None:
    driver.report(RUNNING, now_us=DUE)
    driver.now_us = DUE - 1
    driver.change(kept_us=(DUE,))
    assert len(driver.rows(Table.LEDGER)) == 1
