"""Which tasks name which calendars, and whether what was proposed for a task still holds with them."""

from collections.abc import Iterator

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine.context import ABORTED, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, Context, rejected
from raftsched.core.state.rows import be64, calendar_names, calendar_use_key
from raftsched.ports import Reader, Table

MAX_USES = 10_000
"""Tasks that may name one calendar: to change it moves the cursors of all of them in one command."""
_FIELD = "task.schedule.calendars"


def find_calendar(reader: Reader, name: str) -> pb.CalendarRow | None:
    """The row of a calendar; None when there is none."""
    found = reader.get(Table.CALENDARS, name.encode())
    return None if found is None else pb.CalendarRow.FromString(found)


def users_of(reader: Reader, name: str) -> Iterator[str]:
    """The tasks that name a calendar, by name."""
    start = calendar_use_key(name, "")
    for key, _ in reader.scan(Table.CALENDAR_USES, start + b"\0", start[:-1] + b"\1"):
        yield key[len(start) :].decode()


def count_users(reader: Reader, name: str) -> int:
    """How many tasks name a calendar."""
    found = reader.get(Table.CALENDAR_USES, calendar_use_key(name, ""))
    return 0 if found is None else int.from_bytes(found, "big")


def calendars_moved(context: Context, schedule: task_pb2.Schedule, revision: int) -> pb.Outcome | None:
    """Why a next nominal time that knew calendars up to this revision may not be the schedule's; None when it is."""
    for name in calendar_names(schedule):
        row = find_calendar(context.batch, name)
        if row is not None and row.revision > revision:
            return rejected(ABORTED, f"the calendar {name!r} has changed since it was read")
    return None


def check_calendars(context: Context, task: task_pb2.Task, before: task_pb2.Task | None = None) -> pb.Outcome | None:
    """Why a task cannot use the calendars that it names; None when it can."""
    for name in calendar_names(task.schedule):
        if context.batch.get(Table.CALENDARS, name.encode()) is None:
            return rejected(INVALID_ARGUMENT, f"there is no calendar named {name!r}", _FIELD)
        is_new = before is None or name not in calendar_names(before.schedule)
        if is_new and count_users(context.batch, name) >= MAX_USES:
            return rejected(RESOURCE_EXHAUSTED, f"{MAX_USES} tasks name the calendar {name!r} already", _FIELD)
    return None


def use_calendars(context: Context, task: task_pb2.Task) -> None:
    """Note which calendars a task names."""
    for name in calendar_names(task.schedule):
        context.batch.put(Table.CALENDAR_USES, calendar_use_key(name, task.name), b"")
        _count(context, name, 1)


def leave_calendars(context: Context, task: task_pb2.Task) -> None:
    """Forget which calendars a task names."""
    for name in calendar_names(task.schedule):
        context.batch.delete(Table.CALENDAR_USES, calendar_use_key(name, task.name))
        _count(context, name, -1)


def _count(context: Context, name: str, change: int) -> None:
    count = count_users(context.batch, name) + change
    key = calendar_use_key(name, "")
    if count > 0:
        context.batch.put(Table.CALENDAR_USES, key, be64(count))
    else:
        context.batch.delete(Table.CALENDAR_USES, key)
