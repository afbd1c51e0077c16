"""When a task fires: the nominal times of a schedule. ``docs/schedules.md`` states the semantics as tables.

Nominal times are microseconds since the Unix epoch, greater than 0. Reads the time zone database, and no clock: two
nodes with different versions of it may disagree, so only the leader asks, and stamps the answer into its commands.
"""

from functools import lru_cache

from raftsched.core import cron
from raftsched.core.model import SECOND_US, At, Cron, Interval, Schedule
from raftsched.core.wall_clock import next_instant
from raftsched.core.zone import is_known

MIN_INTERVAL_US = SECOND_US
MAX_TIME_US = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z, the last time that a protobuf Timestamp can say."""
MAX_COUNT = 10_000


class ScheduleError(ValueError):
    """The schedule is not valid; nothing was done. ``field`` is its path in ``raftsched.v1.Task``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def validate(schedule: Schedule) -> None:
    """Refuse a schedule that is not well formed or has no nominal time at all. Raises ScheduleError.

    Knows no clock: a schedule whose nominal times all lie in the past passes.
    """
    if schedule.end_us and schedule.end_us <= schedule.start_us:
        raise ScheduleError("schedule.end_time", "the end must be after the start")
    _validate_kind(schedule.kind)
    if not next_fire(schedule, 0):
        raise _never(schedule)


def _validate_kind(kind: At | Cron | Interval) -> None:
    match kind:
        case At(at_us):
            if not 0 < at_us <= MAX_TIME_US:
                raise ScheduleError("schedule.at", "the time must lie between 1970 and 9999")
        case Interval(every_us, anchor_us):
            if not MIN_INTERVAL_US <= every_us <= MAX_TIME_US:
                message = (
                    f"{every_us / SECOND_US:g} s: the interval must be at least 1 s, and end before the year 10000"
                )
                raise ScheduleError("schedule.interval.every", message)
            if not 0 <= anchor_us <= MAX_TIME_US:
                raise ScheduleError("schedule.interval.anchor", "the anchor must lie between 1970 and 9999")
        case Cron(expression, time_zone):
            _compiled(expression, time_zone)


def validate_time_zone(name: str) -> None:
    """Refuse what is not an IANA time zone. Raises ScheduleError."""
    if not is_known(name):
        message = f"unknown time zone {name!r}; give an IANA name such as Europe/Berlin"
        raise ScheduleError("schedule.cron.time_zone", message)


def _never(schedule: Schedule) -> ScheduleError:
    kind = schedule.kind
    if isinstance(kind, Cron) and not next_fire(Schedule(Cron(kind.expression)), 0):
        return ScheduleError("schedule.cron.expression", f"{kind.expression!r} never fires: no such day exists")
    if isinstance(kind, Cron) and not next_fire(Schedule(kind), 0):
        return ScheduleError("schedule.cron.gap", f"{kind.expression!r} never fires: it names times that are left out")
    field = "schedule.at" if isinstance(kind, At) else "schedule.end_time" if schedule.end_us else "schedule.start_time"
    return ScheduleError(field, "never fires: no nominal time lies at or after start_time and before end_time")


def next_fire(schedule: Schedule, after_us: int) -> int:
    """The first nominal time strictly after ``after_us``; 0 when there is none.

    Raises ScheduleError for a cron schedule that ``validate`` would refuse, as when its zone is not in the time zone
    database of this node.
    """
    after_us = max(after_us, schedule.start_us - 1, 0)
    kind = schedule.kind
    if isinstance(kind, Cron):
        fire_us = _next_cron_s(kind, after_us // SECOND_US) * SECOND_US
    elif isinstance(kind, Interval):
        fire_us = kind.anchor_us + max((after_us - kind.anchor_us) // kind.every_us + 1, 0) * kind.every_us
    else:
        fire_us = kind.at_us if kind.at_us > after_us else 0
    return fire_us if fire_us < (schedule.end_us or MAX_TIME_US + 1) else 0


def fires(schedule: Schedule, first_us: int, until_us: int, limit: int) -> list[int]:
    """The first ``limit`` nominal times from ``first_us`` to ``until_us``, both inclusive. Raises as ``next_fire``."""
    at_us = next_fire(schedule, first_us - 1)
    if isinstance(schedule.kind, Interval):
        return list(_interval_fires(schedule, schedule.kind, at_us, until_us)[:limit])
    times: list[int] = []
    while 0 < at_us <= until_us and len(times) < limit:
        times.append(at_us)
        at_us = next_fire(schedule, at_us)
    return times


def count_fires(schedule: Schedule, first_us: int, until_us: int) -> int:
    """How many nominal times lie from ``first_us`` to ``until_us``, both inclusive; 0 when more than ``MAX_COUNT``.

    Raises as ``next_fire``.
    """
    count = len(fires(schedule, first_us, until_us, MAX_COUNT + 1))
    return count if count <= MAX_COUNT else 0


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
def _next_cron_s(kind: Cron, after_s: int) -> int:
    """Kept, because the tasks of a herd share expression, zone and time."""
    rule = _compiled(kind.expression, kind.time_zone)
    return next_instant(rule, kind.time_zone, after_s, kind.gap, kind.fold)


def _compiled(expression: str, time_zone: str) -> cron.CronExpression:
    validate_time_zone(time_zone)
    try:
        return cron.parse(expression)
    except cron.CronError as error:
        raise ScheduleError("schedule.cron.expression", str(error)) from None
