"""Calendars: exclusions that the schedules of several tasks share.

What a calendar leaves out is worked out where a command is proposed, with the time zone database of that node. So a
command that changes a calendar brings the next nominal times of all tasks that name it, and changes nothing when one of
the tasks has changed since.
"""

from itertools import zip_longest

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import calendar_pb2

from raftsched.core.machine.calendar_uses import find_calendar, users_of
from raftsched.core.machine.context import (
    ABORTED,
    ALREADY_EXISTS,
    FAILED_PRECONDITION,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    Context,
    rejected,
    required,
)
from raftsched.core.machine.tasks import keep_change, set_cursor, write_task
from raftsched.core.machine.terms import due_us
from raftsched.core.state.model import Cursor
from raftsched.core.state.rows import decode_cursor, due_key
from raftsched.ports import Table

MAX_CALENDARS = 1_000
_NAMED = 3

_Move = tuple[pb.TaskRow, Cursor, int]
"""A task, its cursor, and its next nominal time."""


def put_calendar(context: Context, body: pb.PutCalendar) -> pb.Outcome:
    """Create a calendar, or replace the exclusions of one and move the cursors of the tasks that name it."""
    name, now_us = body.calendar.name, context.command.now_us
    found = find_calendar(context.batch, name)
    if body.create and found is not None:
        return rejected(ALREADY_EXISTS, f"a calendar named {name!r} exists", "calendar.name")
    if not body.create and found is None:
        return rejected(NOT_FOUND, f"there is no calendar named {name!r}")
    if found is None and context.batch.count(Table.CALENDARS) >= MAX_CALENDARS:
        return rejected(RESOURCE_EXHAUSTED, f"there are {MAX_CALENDARS} calendars already")
    if found is not None and found.revision != body.expected_revision:
        return rejected(ABORTED, f"the calendar {name!r} has changed since it was read")
    moves = _moves(context, body)
    if moves is None:
        return rejected(ABORTED, f"tasks that name the calendar {name!r} have changed since they were read")
    row = pb.CalendarRow(revision=context.index)
    row.calendar.CopyFrom(calendar_pb2.Calendar(name=name, exclusions=body.calendar.exclusions))
    row.calendar.create_time.FromMicroseconds(found.calendar.create_time.ToMicroseconds() if found else now_us)
    row.calendar.update_time.FromMicroseconds(now_us)
    context.batch.put(Table.CALENDARS, name.encode(), row.SerializeToString())
    for move in moves:
        _move(context, *move)
    return pb.Outcome()


def delete_calendar(context: Context, body: pb.DeleteCalendar) -> pb.Outcome:
    """Delete a calendar that no task names."""
    if find_calendar(context.batch, body.name) is None:
        return rejected(NOT_FOUND, f"there is no calendar named {body.name!r}")
    if users := list(users_of(context.batch, body.name)):
        others = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
        shown = ", ".join(users[:_NAMED])
        message = f"the calendar {body.name!r} is named by the tasks {shown}{others}: change them first"
        return rejected(FAILED_PRECONDITION, message)
    context.batch.delete(Table.CALENDARS, body.name.encode())
    return pb.Outcome()


def _moves(context: Context, body: pb.PutCalendar) -> list[_Move] | None:
    """Where the cursors of all tasks of the calendar go; None when that cannot be told from the command."""
    moves: list[_Move] = []
    for user, item in zip_longest(users_of(context.batch, body.calendar.name), body.tasks):
        if user is None or item is None or user != item.task:
            return None
        row = pb.TaskRow.FromString(required(context.batch, Table.TASKS, user.encode()))
        cursor = decode_cursor(required(context.batch, Table.CURSORS, user.encode()))
        if row.revision != item.expected_revision:
            return None
        if 0 < cursor.next_us <= context.command.now_us:
            # It is due already, and is decided as it stands.
            moves.append((row, cursor, cursor.next_us))
            continue
        next_us = next((each for each in item.next_us if each > cursor.last_us or not each), None)
        if next_us is None:
            return None
        moves.append((row, cursor, next_us))
    return moves


def _move(context: Context, row: pb.TaskRow, cursor: Cursor, next_us: int) -> None:
    """Give a task its next nominal time. The generation rises, so that a fire under way is dropped and decided anew."""
    name, task = row.task.name.encode(), row.task
    keep_change(context, row)
    context.batch.delete(Table.DUE, due_key(due_us(task, cursor.next_us), name))
    task.generation += 1
    task.update_time.FromMicroseconds(context.command.now_us)
    write_task(context, name, task, row.uid)
    set_cursor(context, name, row.uid, context.index, next_us, cursor.last_us, due_us(task, next_us))
    context.applied.tasks.append(task.name)
