"""Checks of task definitions: from what a caller sent to what the state machine keeps, all defaults written out."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from google.protobuf.field_mask_pb2 import FieldMask
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import SECOND_US, At, FoldPolicy, GapPolicy, Schedule
from raftsched.core.state.rows import Calendars, no_calendars, schedule_from_proto, timestamp_us
from raftsched.core.times import recurrence
from raftsched.core.times.rrule import RruleError
from raftsched.core.times.schedule import MAX_UNION, ScheduleError, next_fire, validate_time_zone
from raftsched.core.times.schedule import validate as validate_schedule
from raftsched.definitions.actions import check_action
from raftsched.definitions.fields import check_duration, check_enum, check_labels, check_name, check_time
from raftsched.definitions.notifications import check_notifications
from raftsched.definitions.policies import (
    MAX_DURATION_US,
    check_chain,
    check_misfire,
    check_overlap,
    check_placement,
    check_retry,
)
from raftsched.definitions.simple_fields import check_simple_fields
from raftsched.definitions.task_fields import TASK_FIELDS
from raftsched.definitions.violations import Invalid, Violation, Violations

MAX_TASK_BYTES = 256 << 10
_MAX_SENT_BYTES = 2 * MAX_TASK_BYTES
MAX_EXCLUSIONS = 400
MAX_CALENDARS = 16
"""That a schedule may name."""
MAX_REASON_CHARS = 200
_MAX_KEPT, _MAX_KEPT_BYTES = 512, 4 << 10
"""Definitions without name and schedule that are remembered as valid, and the size of one of them."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

INPUT_FIELDS = tuple(field.name for field in TASK_FIELDS if not field.output)
"""Fields of Task that a caller sets; the others are output only and ignored on input."""
MUTABLE_FIELDS = tuple(field.name for field in TASK_FIELDS if not (field.output or field.immutable))
_OUTPUT_FIELDS = tuple(field.name for field in TASK_FIELDS if field.output)
_ALL_FIELDS = tuple(field.name for field in TASK_FIELDS)
_NOT_SHARED = (*_OUTPUT_FIELDS, "name", "schedule")
"""What the tasks of a herd do not have in common."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A definition that can be registered, and its first nominal time (0: none)."""

    task: task_pb2.Task
    next_us: int


def new_task(message: task_pb2.Task, now_us: int, calendars: Calendars = no_calendars) -> NewTask:
    """The definition to register. Raises Invalid with all that is wrong."""
    refuse_huge(message)
    task = _with_kept_defaults(message)
    if task is None:
        task = definition(message)
        schedule = check_definition(task, now_us, calendars=calendars)
    else:
        violations = Violations()
        check_name(violations, "task.name", task.name)
        schedule = _check_when(violations, task, now_us, 0, calendars)
        violations.raise_any()
    return NewTask(task, 0 if schedule is None else _first_time(schedule, task, now_us))


def _with_kept_defaults(message: task_pb2.Task) -> task_pb2.Task | None:
    """The definition, with all but its name and its schedule checked; None where that is to be looked at, or is large.

    A herd is registered with few definitions that differ in name and time alone.
    """
    if message.ByteSize() > _MAX_KEPT_BYTES:
        return None
    shared = _without(message, _NOT_SHARED)
    shared.DiscardUnknownFields()
    checked = _checked(shared.SerializeToString(deterministic=True))
    if checked is None:
        return None
    task = task_pb2.Task.FromString(checked)
    task.name = message.name
    if message.HasField("schedule"):
        task.schedule.CopyFrom(message.schedule)
        task.schedule.DiscardUnknownFields()
    return task


@lru_cache(maxsize=_MAX_KEPT)
def _checked(shared: bytes) -> bytes | None:
    """A definition without name and schedule, its defaults written out; None when something is wrong with it."""
    task = task_pb2.Task.FromString(shared)
    violations = Violations()
    _check_labels(violations, task)
    _check_what(violations, task)
    return None if violations else task.SerializeToString(deterministic=True)


def is_huge(message: task_pb2.Task) -> bool:
    """Whether to copy it, or to look at its parts, would cost more than to refuse it is worth.

    What comes in may hold what a node has said of the task before; ``check_definition`` knows the bound of the rest.
    """
    return message.ByteSize() > _MAX_SENT_BYTES


def takes_long(task: task_pb2.Task) -> bool:
    """Whether to find its nominal times may take so long that the event loop must not wait for it."""
    schedule = task.schedule
    return bool(schedule.exclusions or schedule.calendars or schedule.HasField("union"))


def refuse_huge(message: task_pb2.Task) -> None:
    """Raise Invalid for a task that ``is_huge``."""
    if is_huge(message):
        raise _too_large(message.ByteSize())


def _too_large(size: int) -> Invalid:
    return Invalid([Violation("task", f"has {size} bytes; at most {MAX_TASK_BYTES} are allowed")])


async def new_task_in_time(message: task_pb2.Task, now_us: int, calendars: Calendars = no_calendars) -> NewTask:
    """As ``new_task``, which it calls in a thread where that ``takes_long``."""
    if is_huge(message) or not takes_long(message):
        return new_task(message, now_us, calendars)
    return await asyncio.to_thread(new_task, message, now_us, calendars)


def definition(message: task_pb2.Task) -> task_pb2.Task:
    """A copy with the fields that a caller sets and no others."""
    task = _without(message, _OUTPUT_FIELDS)
    task.DiscardUnknownFields()
    return task


def _without(message: task_pb2.Task, names: Iterable[str]) -> task_pb2.Task:
    task = task_pb2.Task()
    task.CopyFrom(message)
    for name in names:
        task.ClearField(name)  # type: ignore[arg-type]  # the stub wants a literal
    return task


def changed_task(
    current: task_pb2.Task,
    sent: task_pb2.Task,
    mask: FieldMask,
    now_us: int,
    calendars: Calendars = no_calendars,
) -> task_pb2.Task:
    """The current definition with the fields of the mask replaced by those that were sent.

    Raises Invalid for an unknown path and for a definition that is not valid.
    """
    check_mask(mask)
    refuse_huge(sent)
    task = _without(definition(current), mask.paths)
    task.MergeFrom(_without(sent, [name for name in _ALL_FIELDS if name not in mask.paths]))
    if not task.paused and "resume_time" not in mask.paths:
        task.ClearField("resume_time")
    if task.schedule.HasField("interval") and not task.schedule.interval.HasField("anchor"):
        _keep_anchor(task, current)
    check_definition(task, now_us, timestamp_us(current.create_time), calendars)
    return task


def _keep_anchor(task: task_pb2.Task, current: task_pb2.Task) -> None:
    """The default anchor is the time of registration, which a change of the interval does not move."""
    before = current.schedule
    registered = before.interval.anchor if before.HasField("interval") else current.create_time
    task.schedule.interval.anchor.CopyFrom(registered)


def check_mask(mask: FieldMask) -> None:
    """Refuse a mask that is empty or names what cannot be changed."""
    violations = Violations()
    if not mask.paths:
        violations.add("update_mask", f"must name what to replace: {', '.join(MUTABLE_FIELDS)}")
    for path in mask.paths:
        if path not in MUTABLE_FIELDS:
            violations.add("update_mask", f"{path[:60]!r} is none of {', '.join(MUTABLE_FIELDS)}")
    violations.raise_any()


def check_definition(
    task: task_pb2.Task, now_us: int, registered_us: int = 0, calendars: Calendars = no_calendars
) -> Schedule | None:
    """Write the defaults of a definition out; its schedule, None where it has none.

    ``registered_us``: when the task was registered; 0: it is registered now. Raises Invalid with everything that is
    wrong.
    """
    violations = Violations()
    size = task.ByteSize()
    if size > MAX_TASK_BYTES:
        # Counts come before contents: what is refused for its size must not cost what is in it.
        raise _too_large(size)
    check_name(violations, "task.name", task.name)
    _check_labels(violations, task)
    schedule = _check_when(violations, task, now_us, registered_us, calendars)
    _check_what(violations, task)
    violations.raise_any()
    return schedule


def _check_labels(violations: Violations, task: task_pb2.Task) -> None:
    check_labels(violations, "task.labels", task.labels)
    check_labels(violations, "task.executor_labels", task.executor_labels)


def _check_when(
    violations: Violations, task: task_pb2.Task, now_us: int, registered_us: int, calendars: Calendars
) -> Schedule | None:
    """Only here have the name, the time and the calendars a say."""
    if task.schedule.WhichOneof("kind") or not task.after:
        return check_schedule(violations, task.schedule, task.name, now_us, registered_us, calendars)
    task.ClearField("schedule")
    return None


def _check_what(violations: Violations, task: task_pb2.Task) -> None:
    """All that neither the name nor the schedule has to do with."""
    check_chain(violations, task)
    check_action(violations, "task.action", task.action)
    _check_policies(violations, task)
    check_notifications(violations, task)


def _check_policies(violations: Violations, task: task_pb2.Task) -> None:
    check_simple_fields(violations, task)
    check_misfire(violations, task)
    check_overlap(violations, task)
    check_placement(violations, task)
    if 0 < timestamp_us(task.start_deadline) <= timestamp_us(task.jitter):
        violations.add("task.jitter", "must be shorter than the start deadline, which counts from the nominal time")
    if task.HasField("resume_time") and not task.paused:
        violations.add("task.resume_time", "goes with a paused task only")
    if task.HasField("retry"):
        check_retry(violations, task)


def check_schedule(
    violations: Violations,
    schedule: task_pb2.Schedule,
    task_name: str,
    now_us: int,
    registered_us: int = 0,
    calendars: Calendars = no_calendars,
) -> Schedule | None:
    """Note what is wrong with the schedule of a task, and write its defaults out; the schedule, if nothing is wrong.

    What counts from the registration counts from ``registered_us``, or from now when that is 0.
    """
    found = Violations()
    if schedule.ByteSize() > MAX_TASK_BYTES:
        found.add("task.schedule", f"has {schedule.ByteSize()} bytes; at most {MAX_TASK_BYTES} are allowed")
    else:
        _check_kind(found, "task.schedule", schedule, registered_us or now_us)
    valid = None
    if not found:
        try:
            decoded = schedule_from_proto(schedule, task_name, calendars)
            validate_schedule(decoded)
            valid = decoded
        except ScheduleError as error:
            found.add(f"task.{error.field}", str(error))
    violations.extend(found)
    return valid


def _check_kind(violations: Violations, path: str, schedule: task_pb2.Schedule, registered_us: int) -> None:
    _check_schedule_times(violations, path, schedule)
    if schedule.exclusions:
        check_exclusions(violations, f"{path}.exclusions", schedule.exclusions)
    if schedule.calendars:
        _check_calendars(violations, f"{path}.calendars", schedule)
    match schedule.WhichOneof("kind"):
        case None:
            kinds = ", ".join(field.name for field in schedule.DESCRIPTOR.oneofs_by_name["kind"].fields)
            violations.add(path, f"is required: one of {kinds}")
        case "cron":
            schedule.cron.time_zone = schedule.cron.time_zone or "UTC"
            _check_clock_changes(violations, f"{path}.cron", schedule.cron)
        case "rrule":
            _check_clock_changes(violations, f"{path}.rrule", schedule.rrule)
            _check_rrule(violations, f"{path}.rrule", schedule.rrule, registered_us)
        case "interval" if not schedule.interval.HasField("anchor"):
            schedule.interval.anchor.FromMicroseconds(registered_us)
        case "union":
            _check_union(violations, f"{path}.union", schedule.union, registered_us)


def _check_union(violations: Violations, path: str, union: task_pb2.UnionSchedule, registered_us: int) -> None:
    members = union.schedules
    nested = next((position for position, each in enumerate(members[:MAX_UNION]) if each.HasField("union")), None)
    if not 1 <= len(members) <= MAX_UNION:
        violations.add(f"{path}.schedules", f"has {len(members)} schedules; from 1 to {MAX_UNION} are allowed")
    elif nested is not None:
        violations.add(f"{path}.schedules[{nested}].union", "a union cannot hold another one")
    else:
        for position, each in enumerate(members):
            _check_kind(violations, f"{path}.schedules[{position}]", each, registered_us)


def _check_calendars(violations: Violations, path: str, schedule: task_pb2.Schedule) -> None:
    if len(schedule.calendars) > MAX_CALENDARS:
        violations.add(path, f"has {len(schedule.calendars)}; at most {MAX_CALENDARS} are allowed")
        return
    for position, name in enumerate(schedule.calendars):
        check_name(violations, f"{path}[{position}]", name)
        if name in schedule.calendars[:position]:
            violations.add(f"{path}[{position}]", f"{name!r} is named twice")


def check_exclusions(
    violations: Violations, path: str, exclusions: Sequence[task_pb2.Exclusion], largest: int = MAX_EXCLUSIONS
) -> None:
    """Note what is wrong with days and windows that are left out."""
    if len(exclusions) > largest:
        violations.add(path, f"has {len(exclusions)}; at most {largest:,} are allowed")
        return
    for position, each in enumerate(exclusions):
        _check_exclusion(violations, f"{path}[{position}]", each)


def _check_exclusion(violations: Violations, path: str, exclusion: task_pb2.Exclusion) -> None:
    if len(exclusion.reason) > MAX_REASON_CHARS:
        violations.add(f"{path}.reason", f"has more than {MAX_REASON_CHARS} characters")
    if exclusion.HasField("start_time") or exclusion.HasField("end_time"):
        check_time(violations, f"{path}.start_time", exclusion.start_time)
        check_time(violations, f"{path}.end_time", exclusion.end_time)
        if exclusion.date or exclusion.last_date:
            violations.add(path, "has both days and a window: make them two")
        elif exclusion.end_time.ToMicroseconds() <= exclusion.start_time.ToMicroseconds():
            violations.add(f"{path}.end_time", "must be after the start")
        return
    days = [_day(violations, f"{path}.date", exclusion.date)]
    if exclusion.last_date:
        days.append(_day(violations, f"{path}.last_date", exclusion.last_date))
    if None not in days and days != sorted(each for each in days if each):
        violations.add(f"{path}.last_date", "must not lie before the first day")


def _day(violations: Violations, path: str, text: str) -> date | None:
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else date.min
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 9998:
        violations.add(path, f"{text[:20]!r} is no day such as 2026-12-25, from 1970 to 9998")
        return None
    return day


def _check_rrule(violations: Violations, path: str, kind: task_pb2.RruleSchedule, registered_us: int) -> None:
    try:
        kind.time_zone = kind.time_zone or recurrence.zone_of(kind.lines) or "UTC"
        validate_time_zone(kind.time_zone, f"{path}.time_zone")
        kind.lines = recurrence.with_start(kind.lines, kind.time_zone, registered_us)
    except RruleError as error:
        violations.add(f"{path}.lines", str(error))
    except ScheduleError as error:
        violations.add(error.field, str(error))


def _check_clock_changes(
    violations: Violations, path: str, kind: task_pb2.CronSchedule | task_pb2.RruleSchedule
) -> None:
    if kind.gap:
        check_enum(violations, f"{path}.gap", kind.gap, GapPolicy)
    if kind.fold:
        check_enum(violations, f"{path}.fold", kind.fold, FoldPolicy)


def _check_schedule_times(violations: Violations, path: str, schedule: task_pb2.Schedule) -> None:
    for field in ("start_time", "end_time", "at"):
        if schedule.HasField(field):
            check_time(violations, f"{path}.{field}", getattr(schedule, field))
    if schedule.HasField("interval"):
        interval = schedule.interval
        check_duration(violations, f"{path}.interval.every", interval.every, SECOND_US, MAX_DURATION_US)
        if interval.HasField("anchor"):
            check_time(violations, f"{path}.interval.anchor", interval.anchor)


def first_fire(task: task_pb2.Task, now_us: int, calendars: Calendars = no_calendars) -> int:
    """The first nominal time of a valid definition that is registered now, or given a new schedule now.

    0 for one that has no schedule. Raises Invalid when all have passed. A one-time task may come
    late by its misfire threshold, which is what a slow registration costs, and then fires at once.
    """
    if task.schedule.WhichOneof("kind") is None:
        return 0
    return _first_time(schedule_from_proto(task.schedule, task.name, calendars), task, now_us)


def _first_time(schedule: Schedule, task: task_pb2.Task, now_us: int) -> int:
    """See ``first_fire``, of a task that has a schedule."""
    if isinstance(schedule.kind, At):
        if schedule.kind.at_us >= now_us - timestamp_us(task.misfire_threshold):
            return schedule.kind.at_us
        message = "lies in the past, further back than the misfire threshold; RunTask fires a task now"
        raise Invalid([Violation("task.schedule.at", message)])
    next_us = next_fire(schedule, now_us)
    if not next_us:
        field = "task.schedule.end_time" if schedule.end_us else "task.schedule"
        raise Invalid([Violation(field, "no nominal time is left: the schedule has ended")])
    return next_us
