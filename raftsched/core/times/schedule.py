"""When a task fires: the nominal times of a schedule. ``docs/schedules.md`` states the semantics as tables.

Nominal times are microseconds since the Unix epoch, greater than 0. Reads the time zone database, and no clock: two
nodes with different versions of it may disagree, so only the leader asks, and stamps the answer into its commands.
"""

from dataclasses import replace
from functools import lru_cache

from raftsched.core.state.model import SECOND_US, At, Cron, Interval, Kind, Rrule, Schedule, Union
from raftsched.core.times import cron, recurrence
from raftsched.core.times.rrule import RruleError
from raftsched.core.times.spans import in_words
from raftsched.core.times.wall_clock import WallClockRule, next_instant
from raftsched.core.times.zone import is_known

MIN_INTERVAL_US = SECOND_US
MAX_TIME_US = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z, the last time that a protobuf Timestamp can say."""
MAX_COUNT = 10_000
MAX_UNION = 16
"""How many schedules a union may have."""
MAX_SEARCH = 8_000
"""Exclusions that a search for the next nominal time may have to step over, each counted for each schedule of a union:
a few tenths of a second at worst, which the leader must have at any nominal time."""


class ScheduleError(ValueError):
    """The schedule is not valid; nothing was done. ``field`` is its path in ``raftsched.v1.Task``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NeverFiresError(ScheduleError):
    """The expression is well formed and names no day that exists, such as 30 February."""


def validate(schedule: Schedule) -> None:
    """Refuse a schedule that is not well formed or has no nominal time at all. Raises ScheduleError.

    Knows no clock: a schedule whose nominal times all lie in the past passes.
    """
    if schedule.end_us and schedule.end_us <= schedule.start_us:
        raise ScheduleError("schedule.end_time", "the end must be after the start")
    if problem := too_long_a_search(schedule):
        raise ScheduleError("schedule", problem)
    _validate_kind(schedule.kind)
    for each in schedule.exclusions:
        validate_time_zone(each.time_zone, "schedule.calendars" if each.calendar else "schedule.exclusions")
    if not next_fire(schedule, 0):
        raise _never(schedule)


def too_long_a_search(schedule: Schedule) -> str:
    """Why the next nominal time might take too long to find; "" when it does not."""
    steps = _steps(schedule)
    if steps <= MAX_SEARCH:
        return ""
    return (
        f"has {steps:,} exclusions, those of calendars included, and those of a union once for each of its schedules; "
        f"at most {MAX_SEARCH:,} are allowed: join days and windows that follow one another"
    )


def _steps(schedule: Schedule) -> int:
    """How often a search may have to look for the next nominal time, at most."""
    excluded = sum(len(each.items) for each in schedule.exclusions) if schedule.exclusions else 0
    if not isinstance(schedule.kind, Union):
        return excluded
    return sum(excluded + _steps(each) for each in schedule.kind.schedules)


def _validate_kind(kind: Kind) -> None:
    match kind:
        case At(at_us):
            if not 0 < at_us <= MAX_TIME_US:
                raise ScheduleError("schedule.at", "the time must lie between 1970 and 9999")
        case Interval(every_us, anchor_us):
            if not MIN_INTERVAL_US <= every_us <= MAX_TIME_US:
                message = f"{in_words(every_us)}: the interval must be at least 1 s, and end before the year 10000"
                raise ScheduleError("schedule.interval.every", message)
            if not 0 <= anchor_us <= MAX_TIME_US:
                raise ScheduleError("schedule.interval.anchor", "the anchor must lie between 1970 and 9999")
        case Cron() | Rrule():
            _compiled(kind)
        case Union(schedules):
            _validate_union(schedules)


def _validate_union(schedules: tuple[Schedule, ...]) -> None:
    if not 1 <= len(schedules) <= MAX_UNION:
        message = f"has {len(schedules)} schedules; from 1 to {MAX_UNION} are allowed"
        raise ScheduleError("schedule.union.schedules", message)
    for position, schedule in enumerate(schedules):
        path = f"schedule.union.schedules[{position}]"
        if isinstance(schedule.kind, Union):
            raise ScheduleError(f"{path}.union", "a union cannot hold another one")
        try:
            validate(schedule)
        except ScheduleError as error:
            raise ScheduleError(path + error.field.removeprefix("schedule"), str(error)) from None


def validate_time_zone(name: str, field: str = "schedule.cron.time_zone") -> None:
    """Refuse what is not an IANA time zone. Raises ScheduleError."""
    if not is_known(name):
        raise ScheduleError(field, f"unknown time zone {name!r}; give an IANA name such as Europe/Berlin")


def _never(schedule: Schedule) -> ScheduleError:
    kind = schedule.kind
    if schedule.exclusions and next_fire(replace(schedule, exclusions=()), 0):
        field = "schedule.calendars" if any(each.calendar for each in schedule.exclusions) else "schedule.exclusions"
        return ScheduleError(field, "never fires: every nominal time is excluded")
    if isinstance(kind, Cron) and not next_fire(Schedule(Cron(kind.expression)), 0):
        return NeverFiresError("schedule.cron.expression", f"{kind.expression!r} never fires: no such day exists")
    if isinstance(kind, Cron) and not next_fire(Schedule(kind), 0):
        return ScheduleError("schedule.cron.gap", f"{kind.expression!r} never fires: it names times that are left out")
    if isinstance(kind, Rrule) and not next_fire(Schedule(kind), 0):
        return ScheduleError("schedule.rrule.lines", "never fires: no time is left of what the lines say")
    field = "schedule.at" if isinstance(kind, At) else "schedule.end_time" if schedule.end_us else "schedule.start_time"
    return ScheduleError(field, "never fires: no nominal time lies at or after start_time and before end_time")


def next_fire(schedule: Schedule, after_us: int) -> int:
    """The first nominal time strictly after ``after_us``; 0 when there is none.

    Raises ScheduleError for a schedule in a time zone that ``validate`` would refuse, as when the zone is not in the
    time zone database of this node.
    """
    after_us = max(after_us, schedule.start_us - 1, 0)
    before_us = schedule.end_us or MAX_TIME_US + 1
    while True:
        fire_us = _next(schedule.kind, after_us)
        if not 0 < fire_us < before_us:
            return 0
        if not schedule.exclusions:
            return fire_us
        # Each turn leaves at least one window behind.
        excluded_until_us = max((each.end_of(fire_us) for each in schedule.exclusions), default=0)
        if not excluded_until_us:
            return fire_us
        after_us = excluded_until_us - 1


def _next(kind: Kind, after_us: int) -> int:
    if isinstance(kind, Cron | Rrule):
        return _next_wall_s(kind, after_us // SECOND_US) * SECOND_US
    if isinstance(kind, Interval):
        return kind.anchor_us + max((after_us - kind.anchor_us) // kind.every_us + 1, 0) * kind.every_us
    if isinstance(kind, Union):
        return min(filter(None, (next_fire(each, after_us) for each in kind.schedules)), default=0)
    return kind.at_us if kind.at_us > after_us else 0


def fires(schedule: Schedule, first_us: int, until_us: int, limit: int) -> list[int]:
    """The first ``limit`` nominal times from ``first_us`` to ``until_us``, both inclusive. Raises as ``next_fire``."""
    at_us = next_fire(schedule, first_us - 1)
    if isinstance(schedule.kind, Interval) and not schedule.exclusions:
        return list(_interval_fires(schedule, schedule.kind, at_us, until_us)[:limit])
    times: list[int] = []
    while 0 < at_us <= until_us and len(times) < limit:
        times.append(at_us)
        at_us = next_fire(schedule, at_us)
    return times


def count_fires(schedule: Schedule, first_us: int, until_us: int) -> int:
    """How many nominal times lie from ``first_us`` to ``until_us``, both inclusive; 0 when more than ``MAX_COUNT``.

    To find one of a union takes a look at each of its schedules: of 10 of them, up to a tenth as many are counted.
    Raises as ``next_fire``.
    """
    most = MAX_COUNT // len(schedule.kind.schedules) if isinstance(schedule.kind, Union) else MAX_COUNT
    count = len(fires(schedule, first_us, until_us, most + 1))
    return count if count <= most else 0


def last_fire(schedule: Schedule, until_us: int) -> int:
    """The last nominal time at or before ``until_us``; 0 when there is none. Raises as ``next_fire``."""
    if not 0 < next_fire(schedule, 0) <= until_us:
        return 0
    # A nominal time at or before until_us follows low_us, and none follows high_us.
    low_us, high_us = 0, until_us
    while high_us - low_us > 1:
        middle_us = (low_us + high_us) // 2
        if 0 < next_fire(schedule, middle_us) <= until_us:
            low_us = middle_us
        else:
            high_us = middle_us
    return next_fire(schedule, low_us)


def _interval_fires(schedule: Schedule, kind: Interval, at_us: int, until_us: int) -> range:
    """The nominal times from ``at_us``, which is one, or 0 for none."""
    last_us = min(until_us, (schedule.end_us or MAX_TIME_US + 1) - 1)
    return range(at_us, last_us + 1, kind.every_us) if at_us else range(0)


@lru_cache(maxsize=16_384)
def _next_wall_s(kind: Cron | Rrule, after_s: int) -> int:
    """Kept, because the tasks of a herd share expression, zone and time."""
    return next_instant(_compiled(kind), kind.time_zone, after_s, kind.gap, kind.fold)


def _compiled(kind: Cron | Rrule) -> WallClockRule:
    if isinstance(kind, Cron):
        validate_time_zone(kind.time_zone)
        try:
            return cron.parse(kind.expression)
        except cron.CronError as error:
            raise ScheduleError("schedule.cron.expression", str(error)) from None
    validate_time_zone(kind.time_zone, "schedule.rrule.time_zone")
    try:
        return _recurrence(kind.lines, kind.time_zone)
    except RruleError as error:
        raise ScheduleError("schedule.rrule.lines", str(error)) from None


@lru_cache(maxsize=1024)
def _recurrence(lines: str, time_zone: str) -> recurrence.RecurrenceSet:
    """Kept: it takes some 100 us, and up to 20 KiB."""
    return recurrence.parse(lines, time_zone)
