"""The state machine on backfills: a class of their own behind the queue of the task, and records beside the others."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core import machine
from raftsched.core.machine.context import FAILED_PRECONDITION, RESOURCE_EXHAUSTED
from raftsched.core.state.model import Decision, ExecutionState, OverlapPolicy, Trigger
from raftsched.core.state.rows import LedgerRow
from raftsched.ports import Table
from tests.support.machine_driver import SECOND
from tests.unit.core.test_machine_policies import ASSIGNED, CANCELLED, PENDING, SUCCEEDED, T0, Fixture

PAST = T0 - 1_000 * SECOND


def begun(policy: OverlapPolicy = OverlapPolicy.ALLOW, running: int = 1) -> Fixture:
    driver = Fixture(policy, running)
    if policy is OverlapPolicy.ALLOW:
        driver.task.ClearField("max_running")
    return driver.begin()


def backfill(
    driver: Fixture, count: int = 4, *, first_us: int = PAST, running: int = 1, request_id: str = ""
) -> pb.Outcome:
    command = driver.command(request_id)
    command.backfill_task.name = "t"
    command.backfill_task.expected_revision = pb.TaskRow.FromString(driver.get(Table.TASKS, b"t")).revision
    command.backfill_task.nominal_us.extend(first_us + number * SECOND for number in range(count))
    command.backfill_task.max_running = running
    return driver.apply(command)


def ids_of(outcome: pb.Outcome) -> list[bytes]:
    assert not outcome.code, outcome.message
    return [each.execution_id for each in outcome.results]


def waiting(driver: Fixture, execution_ids: list[bytes]) -> list[bool]:
    return [driver.row(execution_id).queued for execution_id in execution_ids]


def run(driver: Fixture, execution_id: bytes) -> None:
    driver.assign(execution_id)
    assert driver.row(execution_id).state == ASSIGNED
    driver.report(execution_id, SUCCEEDED)


def test_each_nominal_time_gets_one_execution_and_one_entry_and_they_run_one_after_the_other() -> None:
    driver = begun()
    found = ids_of(backfill(driver))
    assert list(driver.rows(Table.EXECUTIONS)) == found
    for number, execution_id in enumerate(found):
        row = driver.row(execution_id)
        assert (row.trigger, row.nominal_us) == (Trigger.BACKFILL, PAST + number * SECOND)
        assert waiting(driver, found) == [each > number for each in range(4)]
        run(driver, execution_id)
    entries = [LedgerRow.FromString(value) for value in driver.rows(Table.LEDGER).values()]
    assert [(row.trigger, row.decision, row.count) for row in entries] == [(Trigger.BACKFILL, Decision.RAN, 1)] * 4
    assert driver.rows(Table.OPEN) == driver.rows(Table.HELD) == {}


def test_as_many_run_at_once_as_asked_for() -> None:
    driver = begun()
    found = ids_of(backfill(driver, running=3))
    assert waiting(driver, found) == [False, False, False, True]
    run(driver, found[1])
    assert waiting(driver, found) == [False] * 4


def test_what_waits_cannot_be_assigned_and_can_be_cancelled() -> None:
    driver = begun()
    found = ids_of(backfill(driver))
    driver.assign(found[1])
    assert driver.row(found[1]).state == PENDING
    driver.cancel(found[1])
    assert driver.row(found[1]).state == CANCELLED
    run(driver, found[0])
    assert waiting(driver, found[2:]) == [False, True]


def test_ids_are_not_those_of_the_schedule_and_both_records_stay() -> None:
    driver = begun()
    scheduled = driver.fire_next()
    (again,) = ids_of(backfill(driver, 1, first_us=T0 + SECOND))
    assert again != scheduled
    triggers = sorted(LedgerRow.FromString(value).trigger for value in driver.rows(Table.LEDGER).values())
    assert triggers == [Trigger.SCHEDULE, Trigger.BACKFILL]


def test_same_request_gives_the_first_outcome_and_another_runs_again_once_the_first_has_ended() -> None:
    driver = begun()
    first = backfill(driver, 2, request_id="r1")
    assert backfill(driver, 2, request_id="r1") == first
    refused = backfill(driver, 2, request_id="r2")
    assert refused.code == FAILED_PRECONDITION
    assert refused.message.startswith("2 executions of another backfill between these times have not ended")
    for execution_id in ids_of(first):
        run(driver, execution_id)
    again = backfill(driver, 2, request_id="r2")
    assert not set(ids_of(again)) & set(ids_of(first))


def test_a_task_has_at_most_a_thousand_that_have_not_ended() -> None:
    driver = begun()
    ids_of(backfill(driver, 600))
    refused = backfill(driver, 401, first_us=PAST - 10_000 * SECOND)
    assert refused.code == RESOURCE_EXHAUSTED
    assert "600 executions of backfills" in refused.message
    ids_of(backfill(driver, 400, first_us=PAST - 10_000 * SECOND))


def test_overlap_limit_counts_them_and_the_queue_goes_first() -> None:
    driver = begun(OverlapPolicy.QUEUE)
    running = driver.fire_next()
    found = ids_of(backfill(driver, 2, running=5))
    queued = driver.fire_next()
    assert waiting(driver, found) == [True, True]
    driver.report(running, SUCCEEDED)
    assert driver.row(queued).queued is False
    assert waiting(driver, found) == [True, True]
    run(driver, queued)
    assert waiting(driver, found) == [False, True]
    behind = driver.fire_next()
    assert driver.row(behind).queued
    run(driver, found[0])
    assert not driver.row(behind).queued
    run(driver, behind)
    run(driver, found[1])
    assert driver.rows(Table.OPEN) == {}


def test_start_deadline_and_lateness_do_not_touch_them() -> None:
    driver = Fixture()
    driver.task.ClearField("max_running")
    driver.task.start_deadline.seconds = 5
    driver.task.notifications.url = "http://127.0.0.1:9/"
    driver.task.notifications.occasions.extend([4, 5])
    driver.task.notifications.late_after.seconds = driver.task.notifications.report_within.seconds = 5
    driver.begin()
    (only,) = ids_of(backfill(driver, 1))
    assert driver.rows(Table.TIMERS) == driver.rows(Table.WATCHES) == {}
    driver.wake()
    assert driver.row(only).state == PENDING


def test_retries_keep_the_place() -> None:
    driver = Fixture()
    driver.task.ClearField("max_running")
    driver.task.retry.max_attempts = 2
    driver.begin()
    first, second = ids_of(backfill(driver, 2))
    driver.assign(first)
    driver.report(first, ExecutionState.FAILED)
    assert waiting(driver, [first, second]) == [False, True]
    driver.wake()
    run(driver, first)
    assert waiting(driver, [second]) == [False]


def test_a_backfill_of_a_changed_or_missing_task_changes_nothing() -> None:
    driver = begun()
    command = driver.command()
    command.backfill_task.CopyFrom(pb.BackfillTask(name="t", expected_revision=9, nominal_us=[PAST], max_running=1))
    assert driver.apply(command).code == machine.ABORTED
    command.backfill_task.name = "nothing"
    assert driver.apply(command).code == machine.NOT_FOUND
    command.backfill_task.CopyFrom(pb.BackfillTask(name="t", nominal_us=[PAST, PAST], max_running=1))
    assert driver.apply(command).code == machine.INVALID_ARGUMENT
    assert driver.rows(Table.EXECUTIONS) == {}
