"""What a changed calendar means for the cursors of the tasks that name it."""

import asyncio
from functools import cache

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import calendar_pb2

from raftsched.api.door.errors import invalid_field
from raftsched.api.tasks.listing import read_task
from raftsched.core.machine.calendar_uses import users_of
from raftsched.core.state.model import SECOND_US, Schedule
from raftsched.core.state.rows import Calendars, calendar_exclusions, calendars_of, schedule_from_proto
from raftsched.core.times.exclusion import Exclusions
from raftsched.core.times.schedule import next_fire, too_long_a_search
from raftsched.definitions.task import takes_long
from raftsched.ports import Reader

_AHEAD_US = 10 * SECOND_US
_MAX_CANDIDATES = 16
_TASKS_PER_TURN = 20


async def plan_update(
    reader: Reader, row: pb.CalendarRow, wanted: calendar_pb2.Calendar, now_us: int
) -> pb.PutCalendar:
    """The command that replaces a calendar, with the next nominal times of all tasks that name it.

    Raises ApiError (INVALID_ARGUMENT) when a task would have more exclusions than a search may step over.
    """
    body = pb.PutCalendar(calendar=wanted, expected_revision=row.revision)
    calendars = _with(calendars_of(reader), wanted)
    for number, name in enumerate(users_of(reader, wanted.name), start=1):
        task_row, cursor = read_task(reader, name)
        schedule = schedule_from_proto(task_row.task.schedule, name, calendars)
        if problem := too_long_a_search(schedule):
            raise invalid_field("calendar.exclusions", f"the schedule of task {name} would have too many: it {problem}")
        times = next_times(schedule, max(now_us, cursor.last_us), now_us + _AHEAD_US)
        body.tasks.add(task=name, expected_revision=task_row.revision, next_us=times)
        if not number % _TASKS_PER_TURN or takes_long(task_row.task):
            await asyncio.sleep(0)
    return body


def next_times(schedule: Schedule, after_us: int, until_us: int) -> list[int]:
    """The nominal times after ``after_us``, until one lies behind ``until_us``; 0 in the end when none follows.

    At most 16: a command that comes later than the last of them is proposed again.
    """
    times = [next_fire(schedule, after_us)]
    while 0 < times[-1] <= until_us and len(times) < _MAX_CANDIDATES:
        times.append(next_fire(schedule, times[-1]))
    return times


def _with(others: Calendars, changed: calendar_pb2.Calendar) -> Calendars:
    @cache
    def of_changed(zone: str) -> Exclusions:
        return calendar_exclusions(changed, zone)

    return lambda name, zone: of_changed(zone) if name == changed.name else others(name, zone)
