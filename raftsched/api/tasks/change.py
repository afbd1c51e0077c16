"""What a changed definition means for the cursor of its task."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.calendars.known import NO_CALENDARS, KnownCalendars
from raftsched.core.policy.due import MAX_AHEAD_US, give_up
from raftsched.core.state.model import Cursor
from raftsched.core.state.rows import schedule_from_proto
from raftsched.core.times.schedule import fires, next_fire
from raftsched.definitions.task import definition, first_fire

_MAX_KEPT = 10_000
"""More nominal times are not decided ahead of one task."""


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
    if not body.schedule_changed:
        body.next_us = plan.next_us
        return
    if now_us < cursor.last_us <= now_us + MAX_AHEAD_US:
        wanted = schedule_from_proto(body.task.schedule, body.task.name, calendars)
        body.kept_us.extend(fires(wanted, now_us + 1, cursor.last_us, _MAX_KEPT))
    if body.kept_us:
        body.next_us = next_fire(wanted, cursor.last_us)
    else:
        # A clock that was put back must not lead into times that are decided.
        body.next_us = first_fire(body.task, max(now_us, cursor.last_us), calendars)
