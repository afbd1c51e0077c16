"""What a changed definition means for the cursor of its task."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.tasks.change import plan_change
from raftsched.core.state.model import Cursor
from raftsched.definitions.task import new_task
from raftsched.definitions.violations import Invalid

SECOND = 1_000_000
T0 = 1_800_000_000 * SECOND


def row(*, every_s: int = 10, paused: bool = False) -> pb.TaskRow:
    """A task whose nominal times are T0 + n * every_s."""
    task = task_pb2.Task(name="t", paused=paused)
    task.schedule.interval.every.seconds = every_s
    task.schedule.interval.anchor.FromMicroseconds(T0)
    task.action.noop.SetInParent()
    return pb.TaskRow(task=new_task(task, T0).task, uid=5, revision=7)


def wanted(**changes: object) -> task_pb2.Task:
    return row(**changes).task


def test_the_same_definition_is_no_change() -> None:
    assert plan_change(row(), Cursor(T0 + 10 * SECOND), wanted(), T0) is None


def test_a_pause_leaves_the_cursor_where_it_is() -> None:
    body = plan_change(row(), Cursor(T0 + 10 * SECOND), wanted(paused=True), T0 + 99 * SECOND)
    assert body is not None
    assert (body.expected_revision, body.moves_cursor, body.schedule_changed) == (7, False, False)


@pytest.mark.parametrize("paused", [False, True])
def test_another_label_leaves_the_cursor_where_it_is(paused: bool) -> None:
    changed = wanted(paused=paused)
    changed.labels["team"] = "a"
    body = plan_change(row(paused=paused), Cursor(T0 + 10 * SECOND), changed, T0 + 99 * SECOND)
    assert body is not None
    assert (body.moves_cursor, body.next_us, body.skipped_count) == (False, 0, 0)


def test_a_resumption_gives_up_what_has_passed() -> None:
    body = plan_change(row(paused=True), Cursor(T0 + 10 * SECOND), wanted(), T0 + 35 * SECOND)
    assert body is not None
    assert (body.moves_cursor, body.schedule_changed) == (True, False)
    assert (body.expected_next_us, body.next_us) == (T0 + 10 * SECOND, T0 + 40 * SECOND)
    assert (body.skipped_last_us, body.skipped_count) == (T0 + 30 * SECOND, 3)
    assert body.skip_reason == "the task was paused"


def test_a_resumption_before_anything_has_passed_gives_nothing_up() -> None:
    body = plan_change(row(paused=True), Cursor(T0 + 10 * SECOND), wanted(), T0 + 5 * SECOND)
    assert body is not None
    assert (body.next_us, body.skipped_count, body.skip_reason) == (T0 + 10 * SECOND, 0, "")


@pytest.mark.parametrize("paused", [False, True])
def test_a_new_schedule_gives_up_what_the_old_one_left(paused: bool) -> None:
    changed = wanted(every_s=60, paused=paused)
    body = plan_change(row(paused=paused), Cursor(T0 + 10 * SECOND), changed, T0 + 10 * SECOND)
    assert body is not None
    assert (body.moves_cursor, body.schedule_changed) == (True, True)
    assert (body.skipped_last_us, body.skipped_count, body.next_us) == (T0 + 10 * SECOND, 1, T0 + 60 * SECOND)
    assert body.skip_reason == ("the task was paused" if paused else "the schedule was replaced")


def test_a_clock_that_was_put_back_does_not_lead_into_decided_times() -> None:
    cursor = Cursor(T0 + 110 * SECOND, T0 + 100 * SECOND)
    body = plan_change(row(), cursor, wanted(every_s=5), T0 + 50 * SECOND)
    assert body is not None
    assert body.next_us == T0 + 105 * SECOND


def test_a_finished_task_can_be_given_a_new_schedule() -> None:
    body = plan_change(row(), Cursor(0, T0), wanted(every_s=60), T0 + SECOND)
    assert body is not None
    assert (body.expected_next_us, body.next_us, body.skipped_count) == (0, T0 + 60 * SECOND, 0)


def test_a_new_schedule_that_has_ended_is_refused() -> None:
    ended = wanted()
    ended.schedule.end_time.FromMicroseconds(T0 + 15 * SECOND)
    with pytest.raises(Invalid) as raised:
        plan_change(row(), Cursor(T0 + 20 * SECOND), ended, T0 + 30 * SECOND)
    assert [violation.field for violation in raised.value.violations] == ["task.schedule.end_time"]
