"""Checks of a calendar that a client defines."""

from raftsched_proto.v1 import calendar_pb2

from raftsched.definitions.fields import check_name, check_request_id
from raftsched.definitions.task import check_exclusions
from raftsched.definitions.violations import Violations

MAX_CALENDAR_EXCLUSIONS = 2_000
MAX_CALENDAR_BYTES = 256 << 10


def checked(message: calendar_pb2.Calendar, request_id: str) -> calendar_pb2.Calendar:
    """What a caller sets of a calendar. Raises Invalid with all that is wrong."""
    calendar = calendar_pb2.Calendar(name=message.name, exclusions=message.exclusions)
    calendar.DiscardUnknownFields()
    violations = Violations()
    check_name(violations, "calendar.name", calendar.name)
    check_request_id(violations, request_id)
    check_exclusions(violations, "calendar.exclusions", calendar.exclusions, MAX_CALENDAR_EXCLUSIONS)
    if calendar.ByteSize() > MAX_CALENDAR_BYTES:
        violations.add("calendar", f"has {calendar.ByteSize()} bytes; at most {MAX_CALENDAR_BYTES} are allowed")
    violations.raise_any()
    return calendar
