"""PreviewSchedule: the nominal times that a schedule gives, for whoever writes one."""

from raftsched_proto.v1 import error_pb2, task_pb2

from raftsched.api.door.errors import invalid_field, refusal
from raftsched.core.state.model import Schedule
from raftsched.core.state.rows import Calendars, no_calendars, schedule_from_proto, timestamp_us
from raftsched.core.times.schedule import next_fire
from raftsched.definitions.fields import check_name, check_time
from raftsched.definitions.remarks import as_warnings, schedule_notes
from raftsched.definitions.task import check_schedule
from raftsched.definitions.violations import Invalid, Violation, Violations

DEFAULT_COUNT, LARGEST_COUNT = 10, 100


def preview(
    request: task_pb2.PreviewScheduleRequest, now_us: int, calendars: Calendars = no_calendars
) -> task_pb2.PreviewScheduleResponse:
    """The nominal times after ``request.after``, or what is wrong with the schedule.

    Raises ApiError (INVALID_ARGUMENT) for a count, a time or a name that cannot be.
    """
    if not 0 <= request.count <= LARGEST_COUNT:
        raise invalid_field("count", f"must lie between 1 and {LARGEST_COUNT}; 0 means {DEFAULT_COUNT}")
    violations = Violations()
    after_us = now_us
    if request.HasField("after"):
        check_time(violations, "after", request.after)
        after_us = timestamp_us(request.after)
    if request.task_name:
        check_name(violations, "task_name", request.task_name)
    violations.raise_any()
    try:
        check_schedule(violations, request.schedule, request.task_name, now_us, calendars=calendars)
        violations.raise_any()
    except Invalid as error:
        return task_pb2.PreviewScheduleResponse(problems=map(_problem, refusal(error).violations))
    response = task_pb2.PreviewScheduleResponse(warnings=as_warnings(schedule_notes(request.schedule)))
    schedule = schedule_from_proto(request.schedule, request.task_name, calendars)
    for time_us in _times(schedule, after_us, request.count or DEFAULT_COUNT):
        response.nominal_times.add().FromMicroseconds(time_us)
    if not response.nominal_times and not request.HasField("after"):
        response.problems.add(field="schedule", description="no nominal time is left: the schedule has ended")
    return response


def _problem(violation: Violation) -> error_pb2.FieldViolation:
    return error_pb2.FieldViolation(field=violation.field.removeprefix("task."), description=violation.description)


def _times(schedule: Schedule, after_us: int, count: int) -> list[int]:
    times: list[int] = []
    while len(times) < count and (after_us := next_fire(schedule, after_us)):
        times.append(after_us)
    return times
