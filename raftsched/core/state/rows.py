"""Rows of the state tables and the keys that they stand under.

Task definitions become values of ``core.model``. Execution and ledger rows are used as the protobuf messages that they
are: every node reads, edits and writes one for each change of an execution, and another type would buy nothing.
"""

import struct
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from typing import Protocol

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import calendar_pb2, task_pb2

from raftsched.core.policy import retry
from raftsched.core.state import ids
from raftsched.core.state.model import (
    DEFAULT_MISFIRE_THRESHOLD_US,
    SECOND_US,
    At,
    Cron,
    Cursor,
    Decision,
    Delivery,
    FoldPolicy,
    GapPolicy,
    Interval,
    Kind,
    MisfirePolicy,
    OverlapPolicy,
    Placement,
    Rrule,
    Schedule,
    Task,
    Union,
)
from raftsched.core.times import cron_hash
from raftsched.core.times.exclusion import Exclusion, Exclusions
from raftsched.core.times.schedule import ScheduleError
from raftsched.ports import Reader, Table

_TWO_NUMBERS = struct.Struct(">QQ")
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
NO_RANK = 128
"""First byte of a key of ``Table.RANKED`` for the priority 0, which has no rows there."""

# By number: to call an enum takes four times as long.
_MISFIRE_POLICIES = {int(each): each for each in MisfirePolicy}
_DELIVERIES = {int(each): each for each in Delivery}
_OVERLAP_POLICIES = {int(each): each for each in OverlapPolicy}
_PLACEMENTS = {int(each): each for each in Placement}

TIME_KEY = b"time"
"""In ``Table.META``: about the latest time that a command was stamped with, in microseconds since the Unix epoch."""
RETENTION_TIME_KEY = b"retention_time"
"""In ``Table.META``: the time that retention has counted age by."""
UID_KEY = b"uid"
"""In ``Table.META``: the last uid that a task was given (8 bytes, big-endian)."""
LEAD_KEY = b"token_lead"
"""In ``Table.META``: by how much fencing tokens are ahead of the log (8 bytes, big-endian); absent: not at all."""

Calendars = Callable[[str, str], Exclusions | None]
"""What the calendar of a name leaves out, its days read in a time zone; None when there is none."""

ExecutionRow = pb.ExecutionRow
LedgerRow = pb.LedgerRow


def be64(number: int) -> bytes:
    """A non-negative number as 8 bytes that sort like it."""
    return number.to_bytes(8, "big")


def due_key(next_us: int, name: bytes) -> bytes:
    """Key of ``Table.DUE``."""
    return be64(next_us) + name


def due_value(uid: int, revision: int) -> bytes:
    """Value of ``Table.DUE``: whose nominal time this is, and of which definition."""
    return _TWO_NUMBERS.pack(uid, revision)


def parse_due(key: bytes, value: bytes) -> tuple[int, str, int, int]:
    """Nominal time, task name, uid and revision of a row of ``Table.DUE``."""
    return (
        int.from_bytes(key[:8], "big"),
        key[8:].decode(),
        int.from_bytes(value[:8], "big"),
        int.from_bytes(value[8:], "big"),
    )


def ledger_key(name: str, nominal_us: int, execution_id: bytes) -> bytes:
    """Key of ``Table.LEDGER``: the entries of one task, by nominal time."""
    return b"%b\0%b%b" % (name.encode(), nominal_us.to_bytes(8, "big"), execution_id)


def parse_ledger_key(key: bytes) -> tuple[str, int, bytes]:
    """Task name, nominal time and execution id of a key of ``Table.LEDGER``."""
    return key[:-25].decode(), int.from_bytes(key[-24:-16], "big"), key[-16:]


def ledger_key_after_task(name: str) -> bytes:
    """A key of ``Table.LEDGER`` after all of the task, and before those of the next."""
    return name.encode() + b"\1"


def has_execution(row: LedgerRow) -> bool:
    """Whether a ledger entry stands for an execution, which retention may have removed since."""
    return row.decision in (Decision.RAN, Decision.LOST) or row.expired


def executions_of(key: bytes, row: LedgerRow) -> list[bytes]:
    """Ids of the executions that a ledger entry stands for, ascending; retention may have removed them since."""
    nominal_id = parse_ledger_key(key)[2]
    if row.executor_ids:
        return sorted(ids.pinned_id(nominal_id, executor_id) for executor_id in row.executor_ids)
    return [nominal_id] if has_execution(row) else []


def task_change_key(name: str, revision: int) -> bytes:
    """Key of ``Table.TASK_CHANGES``: the changes of one task name, oldest first."""
    return name.encode() + b"\0" + be64(revision)


def active_value(attempt: int, executor_id: str) -> bytes:
    """Value of ``Table.ACTIVE``."""
    return attempt.to_bytes(4, "big") + executor_id.encode()


def parse_active(value: bytes) -> tuple[int, str]:
    """Attempt and executor id of a value of ``Table.ACTIVE``."""
    return int.from_bytes(value[:4], "big"), value[4:].decode()


def open_key(uid: int, execution_id: bytes) -> bytes:
    """Key of ``Table.OPEN``: the open executions of one task that are not queued, oldest nominal time first."""
    return be64(uid) + b"\0" + execution_id


def queue_key(uid: int, execution_id: bytes) -> bytes:
    """Key of ``Table.OPEN``: the queued executions of one task, oldest nominal time first."""
    return be64(uid) + b"\1" + execution_id


def backfill_queue_key(uid: int, execution_id: bytes) -> bytes:
    """Key of ``Table.OPEN``: the executions of one task's backfills that wait, oldest nominal time first."""
    return be64(uid) + b"\2" + execution_id


def backfill_open_key(uid: int, execution_id: bytes) -> bytes:
    """Key of ``Table.OPEN``: the open executions of one task's backfills. Under an overlap limit each has an
    ``open_key`` too.
    """
    return be64(uid) + b"\3" + execution_id


def rank_key(priority: int, execution_id: bytes) -> bytes:
    """Key of ``Table.RANKED``: the higher priority first, of the same the older nominal time."""
    return bytes((NO_RANK - priority,)) + execution_id


def grouped_key(group: str, priority: int, execution_id: bytes) -> bytes:
    """Key of ``Table.GROUPED``."""
    return group.encode() + b"\0" + rank_key(priority, execution_id)


def group_start_key(group: str, start_us: int, execution_id: bytes) -> bytes:
    """Key of ``Table.GROUP_STARTS``."""
    return group.encode() + b"\0" + be64(start_us) + execution_id


def parse_group_start(key: bytes) -> int:
    """The time of a key of ``Table.GROUP_STARTS``."""
    return int.from_bytes(key[-24:-16], "big")


def calendar_use_key(calendar: str, task: str) -> bytes:
    """Key of ``Table.CALENDAR_USES``."""
    return calendar.encode() + b"\0" + task.encode()


def child_key(parent: str, child: str) -> bytes:
    """Key of ``Table.CHILDREN``."""
    return parent.encode() + b"\0" + child.encode()


def round_key(uid: int, root_id: bytes) -> bytes:
    """Key of ``Table.ROUNDS``."""
    return be64(uid) + root_id


def timer_key(due_us: int, execution_id: bytes) -> bytes:
    """Key of ``Table.TIMERS``."""
    return be64(due_us) + execution_id


def notice_key(due_us: int, execution_id: bytes, occasion: int) -> bytes:
    """Key of ``Table.WATCHES`` and of ``Table.OUTBOX``."""
    return be64(due_us) + execution_id + bytes((occasion,))


def parse_notice_key(key: bytes) -> tuple[int, bytes, int]:
    """Due time, execution id and occasion of a key of ``Table.WATCHES`` or ``Table.OUTBOX``."""
    return int.from_bytes(key[:8], "big"), key[8:-1], key[-1]


def failure_key(state: int, execution_id: bytes) -> bytes:
    """Key of ``Table.FAILURES``."""
    return bytes((state,)) + execution_id


class _SecondsAndNanos(Protocol):
    seconds: int
    nanos: int


def timestamp_us(value: _SecondsAndNanos) -> int:
    """Microseconds of a protobuf Timestamp or Duration."""
    return value.seconds * SECOND_US + value.nanos // 1000


def no_calendars(_name: str, _zone: str) -> Exclusions | None:
    """For schedules that name none."""
    return None


def calendars_of(reader: Reader) -> Calendars:
    """The calendars of a view."""

    def exclusions(name: str, zone: str) -> Exclusions | None:
        row = reader.get(Table.CALENDARS, name.encode())
        return None if row is None else calendar_row_exclusions(row, zone)

    return exclusions


def calendar_names(schedule: task_pb2.Schedule) -> list[str]:
    """The calendars that a schedule or a member of its union names, each once, by name."""
    if not schedule.HasField("union"):
        return sorted(set(schedule.calendars)) if schedule.calendars else []
    inner = (name for each in schedule.union.schedules for name in calendar_names(each))
    return sorted({*schedule.calendars, *inner})


def task_from_proto(
    message: task_pb2.Task, uid: int = 0, revision: int = 0, calendars: Calendars = no_calendars
) -> Task:
    """The definition that a valid ``raftsched.v1.Task`` describes. Raises as ``schedule_from_proto``.

    A herd of one-time tasks decodes each of them once: what a message lacks is asked for as cheaply as may be.
    """
    has = message.HasField
    return Task(
        name=message.name,
        schedule=schedule_from_proto(message.schedule, message.name, calendars),
        action=message.action.SerializeToString(deterministic=True),
        labels=dict(message.labels) if message.labels else {},
        time_limit_us=timestamp_us(message.time_limit) if has("time_limit") else 0,
        paused=message.paused,
        resume_us=timestamp_us(message.resume_time) if has("resume_time") else 0,
        executor_labels=dict(message.executor_labels) if message.executor_labels else {},
        misfire_policy=_MISFIRE_POLICIES[message.misfire_policy or MisfirePolicy.ONE],
        misfire_threshold_us=timestamp_us(message.misfire_threshold) or DEFAULT_MISFIRE_THRESHOLD_US,
        misfire_window_us=timestamp_us(message.misfire_window) if has("misfire_window") else 0,
        misfire_max_runs=message.misfire_max_runs,
        delivery=_DELIVERIES[message.delivery or Delivery.AT_LEAST_ONCE],
        overlap_policy=_OVERLAP_POLICIES[message.overlap_policy or OverlapPolicy.ALLOW],
        max_running=message.max_running or 1,
        max_queued=message.max_queued,
        start_deadline_us=timestamp_us(message.start_deadline) if has("start_deadline") else 0,
        priority=message.priority,
        group=message.group,
        placement=_PLACEMENTS[message.placement or Placement.ANY],
        jitter_us=timestamp_us(message.jitter) if has("jitter") else 0,
        notifies=has("notifications"),
        has_calendars=bool(calendar_names(message.schedule)),
        uid=uid,
        revision=revision,
        generation=message.generation,
        create_us=timestamp_us(message.create_time),
    )


def schedule_from_proto(message: task_pb2.Schedule, task_name: str, calendars: Calendars = no_calendars) -> Schedule:
    """The schedule that a valid ``raftsched.v1.Schedule`` describes for the task of that name.

    Raises ScheduleError when it names a calendar that is not among ``calendars``.
    """
    kind: Kind
    match message.WhichOneof("kind"):
        case "at":
            kind = At(timestamp_us(message.at))
        case "cron":
            kind = Cron(
                cron_hash.resolve(message.cron.expression, task_name),
                message.cron.time_zone or "UTC",
                GapPolicy(message.cron.gap) if message.cron.gap else None,
                FoldPolicy(message.cron.fold) if message.cron.fold else None,
            )
        case None:
            kind = At(0)  # never: the task runs after others
        case "rrule":
            kind = Rrule(
                message.rrule.lines,
                message.rrule.time_zone or "UTC",
                GapPolicy(message.rrule.gap) if message.rrule.gap else None,
                FoldPolicy(message.rrule.fold) if message.rrule.fold else None,
            )
        case "union":
            kind = Union(tuple(_members(message.union, task_name, calendars)))
        case _:
            kind = Interval(timestamp_us(message.interval.every), timestamp_us(message.interval.anchor))
    return Schedule(
        kind,
        timestamp_us(message.start_time) if message.HasField("start_time") else 0,
        timestamp_us(message.end_time) if message.HasField("end_time") else 0,
        _exclusions_of(message, calendars) if message.exclusions or message.calendars else (),
    )


def _exclusions_of(message: task_pb2.Schedule, calendars: Calendars) -> tuple[Exclusions, ...]:
    zone = _zone_of(message)
    own = [Exclusions(tuple(map(_exclusion, message.exclusions)), zone)] if message.exclusions else []
    return (*own, *(_of_calendar(name, calendars(name, zone)) for name in message.calendars))


def _members(message: task_pb2.UnionSchedule, task_name: str, calendars: Calendars) -> Iterator[Schedule]:
    for position, each in enumerate(message.schedules):
        try:
            yield schedule_from_proto(each, task_name, calendars)
        except ScheduleError as error:
            path = f"schedule.union.schedules[{position}]"
            raise ScheduleError(path + error.field.removeprefix("schedule"), str(error)) from None


def _of_calendar(name: str, found: Exclusions | None) -> Exclusions:
    if found is None:
        raise ScheduleError("schedule.calendars", f"there is no calendar named {name!r}")
    return found


@lru_cache(maxsize=256)
def calendar_row_exclusions(row: bytes, zone: str) -> Exclusions:
    """Of a row of ``Table.CALENDARS``. Kept, because the tasks of a herd share calendar and zone."""
    return calendar_exclusions(pb.CalendarRow.FromString(row).calendar, zone)


def calendar_exclusions(calendar: calendar_pb2.Calendar, zone: str) -> Exclusions:
    """What a calendar leaves out, its days read in ``zone``."""
    return Exclusions(tuple(map(_exclusion, calendar.exclusions)), zone, calendar.name)


def _exclusion(message: task_pb2.Exclusion) -> Exclusion:
    if message.HasField("start_time"):
        return Exclusion(start_us=timestamp_us(message.start_time), end_us=timestamp_us(message.end_time))
    first, last = (date.fromisoformat(text) for text in (message.date, message.last_date or message.date))
    return Exclusion(first.toordinal() - _EPOCH_ORDINAL, last.toordinal() - _EPOCH_ORDINAL)


def _zone_of(message: task_pb2.Schedule) -> str:
    """The zone that the dates of exclusions are read in."""
    for part in message.union.schedules if message.HasField("union") else [message]:
        if part.HasField("cron") or part.HasField("rrule"):
            return (part.cron if part.HasField("cron") else part.rrule).time_zone or "UTC"
    return "UTC"


def retry_from_proto(message: task_pb2.RetryPolicy) -> retry.RetryPolicy:
    """The policy that a ``raftsched.v1.RetryPolicy`` describes; what is out of range is brought into it."""
    initial_us = max(0, timestamp_us(message.initial_backoff)) or retry.DEFAULT_INITIAL_US
    return retry.RetryPolicy(
        max_attempts=min(max(1, message.max_attempts), retry.LARGEST_MAX_ATTEMPTS),
        initial_us=min(initial_us, retry.LARGEST_BACKOFF_US),
        multiplier=min(max(1, message.multiplier or retry.DEFAULT_MULTIPLIER), retry.LARGEST_MULTIPLIER),
        max_us=min(
            max(0, timestamp_us(message.max_backoff)) or max(initial_us, retry.DEFAULT_MAX_US),
            retry.LARGEST_BACKOFF_US,
        ),
        states=frozenset(message.states) or retry.RETRIED_STATES,
        exit_codes=frozenset(message.exit_codes),
        http_statuses=frozenset(message.http_statuses),
    )


def decode_task(row: bytes, calendars: Calendars = no_calendars) -> Task:
    """The definition that a row of ``Table.TASKS`` holds. Raises as ``schedule_from_proto``."""
    parsed = pb.TaskRow.FromString(row)
    return task_from_proto(parsed.task, parsed.uid, parsed.revision, calendars)


def decode_cursor(row: bytes) -> Cursor:
    """The cursor that a row of ``Table.CURSORS`` holds."""
    parsed = pb.CursorRow.FromString(row)
    return Cursor(parsed.next_us, parsed.last_us)


@lru_cache(maxsize=256)
def encode_cursor(next_us: int, last_us: int) -> bytes:
    """A row of ``Table.CURSORS``. Kept, because the tasks of a herd have the same."""
    return pb.CursorRow(next_us=next_us, last_us=last_us).SerializeToString()
