"""Checks of task definitions: from what a caller sent to what the state machine keeps, all defaults written out."""

from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask
from raftsched_client.v1 import policy_pb2, task_pb2

from raftsched.api.actions import check_action
from raftsched.api.errors import Violation, invalid
from raftsched.api.fields import Violations, check_duration, check_enum, check_labels, check_name, check_time
from raftsched.api.policies import MAX_DURATION_US, check_chain, check_misfire, check_number, check_overlap, check_retry
from raftsched.core.model import HIGHEST_PRIORITY, SECOND_US, At, Delivery, FoldPolicy, GapPolicy
from raftsched.core.rows import schedule_from_proto, timestamp_us
from raftsched.core.schedule import ScheduleError, next_fire
from raftsched.core.schedule import validate as validate_schedule

MAX_TASK_BYTES = 256 << 10

INPUT_FIELDS = (
    "name",
    "labels",
    "schedule",
    "action",
    "time_limit",
    "paused",
    "executor_labels",
    "misfire_policy",
    "misfire_threshold",
    "delivery",
    "overlap_policy",
    "max_running",
    "max_queued",
    "retry",
    "start_deadline",
    "priority",
    "jitter",
    "resume_time",
    "misfire_window",
    "misfire_max_runs",
    "after",
)
"""Fields of Task that a caller sets; the others are output only and ignored on input."""
MUTABLE_FIELDS = INPUT_FIELDS[1:]
_SCALARS = (
    "paused",
    "misfire_policy",
    "misfire_max_runs",
    "delivery",
    "overlap_policy",
    "max_running",
    "max_queued",
    "priority",
)


@dataclass(frozen=True, slots=True)
class NewTask:
    """A definition that can be registered, and its first nominal time (0: none)."""

    task: task_pb2.Task
    next_us: int


def new_task(message: task_pb2.Task, now_us: int) -> NewTask:
    """The definition to register. Raises ApiError (INVALID_ARGUMENT) with all that is wrong."""
    task = definition(message)
    check_definition(task, now_us)
    return NewTask(task, first_fire(task, now_us))


def definition(message: task_pb2.Task) -> task_pb2.Task:
    """A copy with the fields that a caller sets and no others."""
    task = task_pb2.Task()
    task.CopyFrom(message)
    for field in task_pb2.Task.DESCRIPTOR.fields:
        if field.name not in INPUT_FIELDS:
            task.ClearField(field.name)  # type: ignore[arg-type]
    task.DiscardUnknownFields()
    return task


def changed_task(current: task_pb2.Task, sent: task_pb2.Task, mask: FieldMask, now_us: int) -> task_pb2.Task:
    """The current definition with the fields of the mask replaced by those that were sent.

    Raises ApiError (INVALID_ARGUMENT) for an unknown path and for a definition that is not valid.
    """
    check_mask(mask)
    task = definition(current)
    for path in mask.paths:
        task.ClearField(path)  # type: ignore[arg-type]
        if path in ("labels", "executor_labels"):
            getattr(task, path).update(getattr(sent, path))
        elif path == "after":
            task.after.extend(sent.after)
        elif path in _SCALARS:
            setattr(task, path, getattr(sent, path))
        elif sent.HasField(path):  # type: ignore[arg-type]
            getattr(task, path).CopyFrom(getattr(sent, path))
    if not task.paused and "resume_time" not in mask.paths:
        task.ClearField("resume_time")
    if task.schedule.HasField("interval") and not task.schedule.interval.HasField("anchor"):
        _keep_anchor(task, current)
    check_definition(task, now_us)
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


def check_definition(task: task_pb2.Task, now_us: int) -> None:
    """Write the defaults of a definition out. Raises ApiError (INVALID_ARGUMENT) with everything that is wrong."""
    violations = Violations()
    check_name(violations, "task.name", task.name)
    check_labels(violations, "task.labels", task.labels)
    check_labels(violations, "task.executor_labels", task.executor_labels)
    if task.schedule.WhichOneof("kind") or not task.after:
        check_schedule(violations, task.schedule, task.name, now_us)
    else:
        task.ClearField("schedule")
    check_chain(violations, task)
    check_action(violations, "task.action", task.action)
    _check_policies(violations, task)
    size = task.ByteSize()
    if size > MAX_TASK_BYTES:
        violations.add("task", f"has {size} bytes; at most {MAX_TASK_BYTES} are allowed")
    violations.raise_any()


def _check_policies(violations: Violations, task: task_pb2.Task) -> None:
    if task.HasField("time_limit"):
        check_duration(violations, "task.time_limit", task.time_limit, 1000, MAX_DURATION_US)
    check_misfire(violations, task)
    task.delivery = task.delivery or policy_pb2.DELIVERY_AT_LEAST_ONCE
    check_enum(violations, "task.delivery", task.delivery, Delivery)
    check_overlap(violations, task)
    check_number(violations, "task.priority", task.priority, -HIGHEST_PRIORITY, HIGHEST_PRIORITY)
    if task.HasField("start_deadline"):
        check_duration(violations, "task.start_deadline", task.start_deadline, SECOND_US, MAX_DURATION_US)
    if task.HasField("jitter"):
        check_duration(violations, "task.jitter", task.jitter, 10_000, MAX_DURATION_US)
    if 0 < timestamp_us(task.start_deadline) <= timestamp_us(task.jitter):
        violations.add("task.jitter", "must be shorter than the start deadline, which counts from the nominal time")
    if task.HasField("resume_time"):
        check_time(violations, "task.resume_time", task.resume_time)
        if not task.paused:
            violations.add("task.resume_time", "goes with a paused task only")
    if task.HasField("retry"):
        check_retry(violations, task)


def check_schedule(violations: Violations, schedule: task_pb2.Schedule, task_name: str, now_us: int) -> None:
    """Note what is wrong with the schedule of a task, and write its defaults out."""
    found = Violations()
    _check_schedule_times(found, schedule)
    kind = schedule.WhichOneof("kind")
    if kind is None:
        found.add("task.schedule", "is required: one of at, cron, interval")
    elif kind == "cron":
        schedule.cron.time_zone = schedule.cron.time_zone or "UTC"
        _check_clock_changes(found, "task.schedule.cron", schedule.cron)
    elif kind == "interval" and not schedule.interval.HasField("anchor"):
        schedule.interval.anchor.FromMicroseconds(now_us)
    if not found:
        try:
            validate_schedule(schedule_from_proto(schedule, task_name))
        except ScheduleError as error:
            found.add(f"task.{error.field}", str(error))
    violations.extend(found)


def _check_clock_changes(violations: Violations, field: str, kind: task_pb2.CronSchedule) -> None:
    if kind.gap:
        check_enum(violations, f"{field}.gap", kind.gap, GapPolicy)
    if kind.fold:
        check_enum(violations, f"{field}.fold", kind.fold, FoldPolicy)


def _check_schedule_times(violations: Violations, schedule: task_pb2.Schedule) -> None:
    for field in ("start_time", "end_time", "at"):
        if schedule.HasField(field):
            check_time(violations, f"task.schedule.{field}", getattr(schedule, field))
    if schedule.HasField("interval"):
        interval = schedule.interval
        check_duration(violations, "task.schedule.interval.every", interval.every, SECOND_US, MAX_DURATION_US)
        if interval.HasField("anchor"):
            check_time(violations, "task.schedule.interval.anchor", interval.anchor)


def first_fire(task: task_pb2.Task, now_us: int) -> int:
    """The first nominal time of a valid definition that is registered now, or given a new schedule now.

    0 for one that has no schedule. Raises ApiError (INVALID_ARGUMENT) when all have passed. A one-time task may come
    late by its misfire threshold, which is what a slow registration costs, and then fires at once.
    """
    if task.schedule.WhichOneof("kind") is None:
        return 0
    schedule = schedule_from_proto(task.schedule, task.name)
    if isinstance(schedule.kind, At):
        if schedule.kind.at_us >= now_us - timestamp_us(task.misfire_threshold):
            return schedule.kind.at_us
        message = "lies in the past, further back than the misfire threshold; RunTask fires a task now"
        raise invalid([Violation("task.schedule.at", message)])
    next_us = next_fire(schedule, now_us)
    if not next_us:
        field = "task.schedule.end_time" if schedule.end_us else "task.schedule"
        raise invalid([Violation(field, "no nominal time is left: the schedule has ended")])
    return next_us
