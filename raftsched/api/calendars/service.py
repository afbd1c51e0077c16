"""CalendarService: exclusions that several tasks share. Runs on the leader, but for stale reads."""
# The names of the methods are those of the rpcs, each of which is given a context.
# ruff: noqa: ARG002, N802

import grpc
from google.protobuf.empty_pb2 import Empty
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import calendar_pb2, calendar_pb2_grpc

from raftsched.api.calendars.change import plan_update
from raftsched.api.context import ApiContext, CallContext
from raftsched.api.door.errors import calendars_changed, not_found, raise_for_outcome
from raftsched.api.proposals import ATTEMPTS, Proposals, Reads, remembered, scoped
from raftsched.core.machine.calendar_uses import count_users, find_calendar
from raftsched.definitions.calendar import checked
from raftsched.definitions.fields import check_name, check_request_id, quoted
from raftsched.definitions.violations import Violations
from raftsched.ports import Reader, Table


class CalendarService(calendar_pb2_grpc.CalendarServiceServicer):
    """See calendar.proto."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._proposals = Proposals(api)
        self._reads = Reads(api)

    async def CreateCalendar(
        self, request: calendar_pb2.CreateCalendarRequest, context: CallContext
    ) -> calendar_pb2.CreateCalendarResponse:
        """Create a calendar."""
        calendar = checked(request.calendar, request.request_id)
        command = self._proposals.command(scoped("CreateCalendar", request.request_id))
        command.put_calendar.calendar.CopyFrom(calendar)
        command.put_calendar.create = True
        raise_for_outcome(await self._proposals.propose(command))
        return calendar_pb2.CreateCalendarResponse(calendar=self._shown(calendar))

    async def GetCalendar(
        self, request: calendar_pb2.GetCalendarRequest, context: CallContext
    ) -> calendar_pb2.GetCalendarResponse:
        """Read one calendar."""
        _check(request.name)
        async with self._reads.view(request.consistency) as reader:
            return calendar_pb2.GetCalendarResponse(calendar=_public(reader, _read(reader, request.name)))

    async def ListCalendars(
        self, request: calendar_pb2.ListCalendarsRequest, context: CallContext
    ) -> calendar_pb2.ListCalendarsResponse:
        """Read all calendars, without what they exclude."""
        response = calendar_pb2.ListCalendarsResponse()
        async with self._reads.view(request.consistency) as reader:
            for _, value in reader.scan(Table.CALENDARS):
                calendar = _public(reader, pb.CalendarRow.FromString(value))
                calendar.ClearField("exclusions")
                response.calendars.append(calendar)
        return response

    async def UpdateCalendar(
        self, request: calendar_pb2.UpdateCalendarRequest, context: CallContext
    ) -> calendar_pb2.UpdateCalendarResponse:
        """Replace what a calendar excludes, and move the cursors of its tasks."""
        calendar = checked(request.calendar, request.request_id)
        key = scoped("UpdateCalendar", request.request_id)
        for _ in range(ATTEMPTS):
            async with self._reads.view() as reader:
                if remembered(reader, key) is not None:
                    break
                row = _read(reader, calendar.name)
                if request.calendar.etag not in ("", _etag(row)):
                    raise calendars_changed(
                        f"the calendar {calendar.name!r} has changed since it was read; nothing was done. Read it "
                        "again and repeat the change"
                    )
                command = self._proposals.command(key)
                command.put_calendar.CopyFrom(await plan_update(reader, row, calendar, command.now_us))
            outcome = await self._proposals.propose(command)
            if outcome.code != grpc.StatusCode.ABORTED.value[0]:
                raise_for_outcome(outcome)
                break
        else:
            raise calendars_changed()
        return calendar_pb2.UpdateCalendarResponse(calendar=self._shown(calendar))

    async def DeleteCalendar(self, request: calendar_pb2.DeleteCalendarRequest, context: CallContext) -> Empty:
        """Remove a calendar that no task names."""
        _check(request.name, request.request_id)
        command = self._proposals.command(scoped("DeleteCalendar", request.request_id))
        command.delete_calendar.name = request.name
        raise_for_outcome(await self._proposals.propose(command))
        return Empty()

    def _shown(self, written: calendar_pb2.Calendar) -> calendar_pb2.Calendar:
        """The calendar as it stands; what was written, when it has been deleted again meanwhile."""
        with self._api.store.read() as reader:
            row = find_calendar(reader, written.name)
            return written if row is None else _public(reader, row)


def _read(reader: Reader, name: str) -> pb.CalendarRow:
    row = find_calendar(reader, name)
    if row is None:
        raise not_found(f"calendar {quoted(name)}")
    return row


def _public(reader: Reader, row: pb.CalendarRow) -> calendar_pb2.Calendar:
    calendar = row.calendar
    calendar.tasks = count_users(reader, calendar.name)
    calendar.exclusion_count = len(calendar.exclusions)
    calendar.etag = _etag(row)
    return calendar


def _etag(row: pb.CalendarRow) -> str:
    return f"{row.revision:x}"


def _check(name: str, request_id: str = "") -> None:
    violations = Violations()
    check_name(violations, "name", name)
    check_request_id(violations, request_id)
    violations.raise_any()
