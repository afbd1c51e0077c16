"""Why a time is no nominal time of a task: the exclusion or the calendar that leaves it out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from raftsched.cli.calendars import Calendars
from raftsched.cli.show import describe
from raftsched.cli.times import show_instant, zone_of

if TYPE_CHECKING:
    from raftsched_client import Exclusion, Schedule, Task


def left_out(task: Task, at_us: int, calendars: Calendars) -> tuple[int, str]:
    """The last time up to ``at_us`` that the schedule would have but for what it excludes, and what excludes it.

    0 and "" when the last such time is a nominal one.
    """
    from google.protobuf.timestamp_pb2 import Timestamp

    from raftsched.core.state.rows import schedule_from_proto
    from raftsched.core.times.schedule import last_fire, next_fire

    if task.schedule.WhichOneof("kind") is None:
        return 0, ""
    found_us = last_fire(schedule_from_proto(_bare(task.schedule), task.name), at_us)
    schedule = schedule_from_proto(task.schedule, task.name, calendars)
    if found_us <= task.create_time.ToMicroseconds() or next_fire(schedule, found_us - 1) == found_us:
        return 0, ""
    reasons = [
        " ".join(filter(None, (calendar and f"calendar {calendar}:", describe.exclusion(each, zone_of(task)))))
        for part in (task.schedule, *task.schedule.union.schedules)
        for calendar, each in _exclusions(part, calendars)
        if _holds(part, each, found_us)
    ]
    shown = Timestamp()
    shown.FromMicroseconds(found_us)
    return found_us, f"{show_instant(shown, zone_of(task))} is excluded by {'; '.join(dict.fromkeys(reasons))}"


def _exclusions(part: Schedule, calendars: Calendars) -> Iterator[tuple[str, Exclusion]]:
    """Each with the name of its calendar."""
    for each in part.exclusions:
        yield "", each
    for name in part.calendars:
        calendar = calendars.get(name)
        for each in calendar.exclusions if calendar else ():
            yield name, each


def _holds(part: Schedule, exclusion: Exclusion, at_us: int) -> bool:
    from raftsched.core.state.rows import schedule_from_proto

    one = _bare(part)
    one.exclusions.append(exclusion)
    return any(each.end_of(at_us) for each in schedule_from_proto(one, "").exclusions)


def _bare(schedule: Schedule) -> Schedule:
    """The schedule without what it excludes."""
    from raftsched_client import Schedule

    bare = Schedule()
    bare.CopyFrom(schedule)
    for part in (bare, *bare.union.schedules) if bare.HasField("union") else (bare,):
        del part.exclusions[:]
        del part.calendars[:]
    return bare
