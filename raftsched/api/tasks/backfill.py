"""BackfillTask: which nominal times of a past range there are, and what was decided for them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import execution_pb2, policy_pb2, task_pb2

from raftsched.api.convert import public_ledger_entry
from raftsched.api.door.errors import invalid_field
from raftsched.core.policy.overlap import LARGEST_LIMIT, MAX_BACKFILLS
from raftsched.core.state import ids
from raftsched.core.state.model import Trigger
from raftsched.core.state.rows import Calendars, LedgerRow, ledger_key, no_calendars, schedule_from_proto, timestamp_us
from raftsched.core.times.schedule import MAX_COUNT, fires
from raftsched.definitions.fields import check_name, check_number, check_request_id, check_time
from raftsched.definitions.violations import Violations
from raftsched.ports import Reader, Table

DEFAULT_MAX_EXECUTIONS = 100


def check_backfill(request: task_pb2.BackfillTaskRequest, now_us: int) -> None:
    """Write the defaults out. Raises ApiError (INVALID_ARGUMENT) with everything that is wrong."""
    violations = Violations()
    check_name(violations, "name", request.name)
    check_request_id(violations, request.request_id)
    for field in ("start_time", "end_time"):
        if request.HasField(field):
            check_time(violations, field, getattr(request, field))
        else:
            violations.add(field, "is required")
    if not violations:
        if timestamp_us(request.end_time) > now_us:
            violations.add("end_time", "may not lie in the future: a backfill runs nominal times of the past")
        if timestamp_us(request.end_time) <= timestamp_us(request.start_time):
            violations.add("end_time", "must be after start_time")
    request.max_executions = request.max_executions or DEFAULT_MAX_EXECUTIONS
    check_number(violations, "max_executions", request.max_executions, 1, MAX_BACKFILLS)
    request.max_running = request.max_running or 1
    check_number(violations, "max_running", request.max_running, 1, LARGEST_LIMIT)
    violations.raise_any()


def nominal_times(
    task: task_pb2.Task, request: task_pb2.BackfillTaskRequest, calendars: Calendars = no_calendars
) -> list[int]:
    """The nominal times in the range, in microseconds.

    Raises ApiError (INVALID_ARGUMENT) when there are more than the request allows, or none.
    """
    if task.schedule.WhichOneof("kind") is None:
        raise invalid_field("name", f"{task.name} has no schedule, and so no nominal times: RunTask runs it now")
    if task.placement == policy_pb2.PLACEMENT_EVERY:
        raise invalid_field("name", f"{task.name} runs on every executor (placement EVERY), and cannot be backfilled")
    start_us, end_us = timestamp_us(request.start_time), timestamp_us(request.end_time)
    schedule = schedule_from_proto(task.schedule, task.name, calendars)
    times_us = fires(schedule, max(start_us, 1), end_us - 1, MAX_COUNT + 1)
    if not times_us:
        message = f"the schedule of {task.name} has no nominal time from then until before end_time"
        raise invalid_field("start_time", message)
    if len(times_us) > request.max_executions:
        count = f"{len(times_us):,}" if len(times_us) <= MAX_COUNT else f"more than {MAX_COUNT:,}"
        first, last = _show(times_us[0]), _show(times_us[min(len(times_us), request.max_executions) - 1])
        message = (
            f"the range has {count} nominal times, and at most {request.max_executions:,} are allowed: raise it (up to "
            f"{MAX_BACKFILLS:,}), or take the range in parts; those from {first} to {last} would be allowed"
        )
        raise invalid_field("max_executions", message)
    return times_us


def dry_run(reader: Reader, row: pb.TaskRow, times_us: list[int]) -> task_pb2.BackfillTaskResponse:
    """The nominal times, each with what is on record for it."""
    response = task_pb2.BackfillTaskResponse()
    found = _entries(reader, row, times_us[0], times_us[-1])
    covering: execution_pb2.LedgerEntry | None = None
    entry = next(found, None)
    for time_us in times_us:
        time = response.times.add()
        time.nominal_time.FromMicroseconds(time_us)
        backfills = []
        while entry is not None and entry.nominal_time.ToMicroseconds() <= time_us:
            if entry.trigger == execution_pb2.TRIGGER_SCHEDULE:
                covering = entry
            elif entry.nominal_time.ToMicroseconds() == time_us:
                backfills.append(entry)
            entry = next(found, None)
        if covering is not None and covering.last_nominal_time.ToMicroseconds() >= time_us:
            time.decided.append(covering)
        time.decided.extend(backfills)
    return response


def backfilled(outcome: pb.Outcome) -> task_pb2.BackfillTaskResponse:
    """The executions that were made."""
    response = task_pb2.BackfillTaskResponse()
    for each in outcome.results:
        time = response.times.add(execution_id=ids.to_text(each.execution_id))
        time.nominal_time.FromMicroseconds(each.nominal_us)
    return response


def _entries(reader: Reader, row: pb.TaskRow, first_us: int, last_us: int) -> Iterator[execution_pb2.LedgerEntry]:
    """Entries of schedule and backfills that stand for a nominal time of the range, in order of their first.

    Those of the schedule do not overlap, so that of those that begin before the range only the last can reach into it.
    """
    name = row.task.name
    begin = ledger_key(name, first_us, b"")
    for key, value in reader.scan(Table.LEDGER, ledger_key(name, 0, b""), begin, reverse=True):
        if _is_of(value, row.uid, Trigger.SCHEDULE):
            yield public_ledger_entry(key, value)
            break
    for key, value in reader.scan(Table.LEDGER, begin, ledger_key(name, last_us + 1, b"")):
        if _is_of(value, row.uid, Trigger.SCHEDULE, Trigger.BACKFILL):
            yield public_ledger_entry(key, value)


def _is_of(value: bytes, uid: int, *triggers: Trigger) -> bool:
    entry = LedgerRow.FromString(value)
    return entry.uid == uid and entry.trigger in triggers


def _show(time_us: int) -> str:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    return time.isoformat().replace("+00:00", "Z")
