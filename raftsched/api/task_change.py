"""What a changed definition means for the cursor of its task."""

from raftsched_client.v1 import task_pb2

from raftsched.api.known_calendars import NO_CALENDARS, KnownCalendars
from raftsched.api.validate import definition, first_fire
from raftsched.core.model import Cursor
from raftsched.core.policy import give_up
from raftsched.core.rows import schedule_from_proto
from raftsched.internal.v1 import command_pb2 as pb


def plan_change(
    row: pb.TaskRow, cursor: Cursor, wanted: task_pb2.Task, now_us: int, calendars: KnownCalendars = NO_CALENDARS
) -> pb.ReplaceTask | None:
    """The command that makes ``wanted``, a valid definition, out of the task; None when it is that already.

    Nominal times that passed unheeded before a new schedule or a resumption are given up, for the ledger to say so.
    Raises ApiError (INVALID_ARGUMENT) when a new schedule has no nominal time left.
    """
    current = row.task
    if definition(current) == wanted:
        return None
    body = pb.ReplaceTask(task=wanted, expected_revision=row.revision, calendars_revision=calendars.revision)
    body.schedule_changed = wanted.schedule != current.schedule
    if body.schedule_changed or (current.paused and not wanted.paused):
        _move_cursor(body, current, cursor, now_us, calendars)
    return body


def _move_cursor(
    body: pb.ReplaceTask, current: task_pb2.Task, cursor: Cursor, now_us: int, calendars: KnownCalendars
) -> None:
    reason = "the task was paused" if current.paused else "the schedule was replaced"
    schedule = schedule_from_proto(current.schedule, current.name, calendars)
    plan = give_up(schedule, cursor.next_us, now_us, reason)
    body.moves_cursor = True
    body.expected_next_us = cursor.next_us
    for skipped in plan.decided:
        body.skipped_last_us = skipped.last_nominal_us
        body.skipped_count = skipped.count
        body.skip_reason = skipped.reason
    # A clock that was put back must not lead into times that are decided.
    body.next_us = (
        first_fire(body.task, max(now_us, cursor.last_us), calendars) if body.schedule_changed else plan.next_us
    )
