"""The calendars of the cluster that tests of the client and the CLI talk to."""

from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf import empty_pb2
from google.protobuf.message import Message
from raftsched_proto.v1 import calendar_pb2, calendar_pb2_grpc


class Answers(Protocol):
    """What the cluster does for each service."""

    calendars: dict[str, calendar_pb2.Calendar]

    async def answer(
        self, node: int, context: Any, method: str, request: Message, act: Callable[[], Message], request_id: str = ""
    ) -> Any: ...


class CalendarNode(calendar_pb2_grpc.CalendarServiceServicer):
    """CalendarService of one node. ``refuse(code, message)`` makes the error of a refusal."""

    def __init__(self, cluster: Answers, number: int, refuse: Callable[[str, str], Exception]) -> None:
        self._cluster = cluster
        self._number = number
        self._refuse = refuse

    async def CreateCalendar(self, request, context):
        def act() -> Message:
            if request.calendar.name in self._cluster.calendars:
                raise self._refuse("ALREADY_EXISTS", f"a calendar named {request.calendar.name!r} exists")
            return calendar_pb2.CreateCalendarResponse(calendar=self._store(request.calendar))

        return await self._answer(context, request, "CreateCalendar", act, request.request_id)

    async def GetCalendar(self, request, context):
        act = lambda: calendar_pb2.GetCalendarResponse(calendar=self._found(request.name))  # noqa: E731
        return await self._answer(context, request, "GetCalendar", act)

    async def ListCalendars(self, request, context):
        act = lambda: calendar_pb2.ListCalendarsResponse(calendars=self._cluster.calendars.values())  # noqa: E731
        return await self._answer(context, request, "ListCalendars", act)

    async def UpdateCalendar(self, request, context):
        def act() -> Message:
            if request.calendar.etag not in ("", self._found(request.calendar.name).etag):
                raise self._refuse("ABORTED", "the calendar has changed")
            return calendar_pb2.UpdateCalendarResponse(calendar=self._store(request.calendar))

        return await self._answer(context, request, "UpdateCalendar", act, request.request_id)

    async def DeleteCalendar(self, request, context):
        def act() -> Message:
            del self._cluster.calendars[self._found(request.name).name]
            return empty_pb2.Empty()

        return await self._answer(context, request, "DeleteCalendar", act, request.request_id)

    async def _answer(
        self, context: Any, request: Any, method: str, act: Callable[[], Message], request_id: str = ""
    ) -> Any:
        return await self._cluster.answer(self._number, context, method, request, act, request_id)

    def _found(self, name: str) -> calendar_pb2.Calendar:
        if name not in self._cluster.calendars:
            raise self._refuse("NOT_FOUND", f"there is no calendar named {name!r}")
        return self._cluster.calendars[name]

    def _store(self, calendar: calendar_pb2.Calendar) -> calendar_pb2.Calendar:
        stored = calendar_pb2.Calendar()
        stored.CopyFrom(calendar)
        stored.exclusion_count = len(calendar.exclusions)
        stored.etag = f"{int(calendar.etag or '0', 16) + 1:x}"
        self._cluster.calendars[calendar.name] = stored
        return stored
