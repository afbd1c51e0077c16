"""CalendarService: exclusions that several tasks share."""

import asyncio
from datetime import UTC, datetime

import grpc
import pytest
from raftsched_client import Calendar, Exclusion, schedule
from raftsched_proto.v1 import calendar_pb2, task_pb2

from tests.support.api_cluster import ApiCluster, on_cluster, refused
from tests.unit.api.test_tasks import create, task

FAR = datetime(2100, 1, 4, 9, tzinfo=UTC)
"""The first nominal time of ``daily``."""


def daily(*calendars: str) -> task_pb2.Schedule:
    return schedule(cron="0 9 * * *", start=datetime(2100, 1, 4, tzinfo=UTC), calendars=calendars)


def holidays(*days: str, name: str = "holidays", etag: str = "") -> Calendar:
    return Calendar(name=name, exclusions=[Exclusion(date=day) for day in days], etag=etag)


async def make(cluster: ApiCluster, calendar: Calendar) -> Calendar:
    request = calendar_pb2.CreateCalendarRequest(calendar=calendar)
    return (await cluster.caller().calendars.CreateCalendar(request)).calendar


async def change(cluster: ApiCluster, calendar: Calendar) -> Calendar:
    request = calendar_pb2.UpdateCalendarRequest(calendar=calendar)
    return (await cluster.caller().calendars.UpdateCalendar(request)).calendar


async def next_day(cluster: ApiCluster, name: str) -> int:
    """The day of January 2100 on which the task fires next."""
    found = (await cluster.caller().tasks.GetTask(task_pb2.GetTaskRequest(name=name))).task
    return found.next_fire_time.ToDatetime().day


@pytest.mark.parametrize(
    ("field", "calendar"),
    [
        ("calendar.name", Calendar(name="-")),
        ("calendar.exclusions[1].date", holidays("2100-01-04", "2100-02-30")),
        ("calendar.exclusions[0].date", holidays("2100-W01-1")),
        ("calendar.exclusions[0].date", holidays("\uff12100-01-04")),
        ("calendar.exclusions[0].date", holidays("1969-12-31")),
        ("calendar.exclusions[0].date", holidays("9999-01-01")),
        ("calendar.exclusions", holidays(*["2100-01-04"] * 2001)),
        ("calendar", Calendar(name="c", exclusions=[Exclusion(date="2100-01-04", reason="r" * 190)] * 1999)),
    ],
)
@on_cluster()
async def test_refused_with_the_name_of_the_field(cluster: ApiCluster, field: str, calendar: Calendar) -> None:
    told = await refused(make(cluster, calendar))
    assert (told.code, list(told.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


@on_cluster()
async def test_a_task_leaves_out_what_its_calendars_exclude_and_follows_their_changes(cluster: ApiCluster) -> None:
    await make(cluster, holidays("2100-01-04"))
    await make(cluster, holidays("2100-01-05", name="freeze"))
    await cluster.caller().tasks.CreateTask(create(task("report", schedule=daily("holidays", "freeze"))))
    assert await next_day(cluster, "report") == 6
    changed = await change(cluster, holidays("2100-01-04", "2100-01-06"))
    assert (changed.tasks, changed.exclusion_count) == (1, 2)
    assert await next_day(cluster, "report") == 7
    await change(cluster, holidays())
    assert await next_day(cluster, "report") == 4


@on_cluster()
async def test_calendars_are_listed_without_what_they_exclude(cluster: ApiCluster) -> None:
    await make(cluster, holidays("2100-01-04"))
    await cluster.caller().tasks.CreateTask(create(task("report", schedule=daily("holidays"))))
    (listed,) = (await cluster.caller().calendars.ListCalendars(calendar_pb2.ListCalendarsRequest())).calendars
    assert (listed.name, listed.tasks, listed.exclusion_count, len(listed.exclusions)) == ("holidays", 1, 1, 0)
    request = calendar_pb2.GetCalendarRequest(name="holidays")
    shown = (await cluster.caller().calendars.GetCalendar(request)).calendar
    assert [each.date for each in shown.exclusions] == ["2100-01-04"]


@on_cluster()
async def test_a_calendar_that_a_task_names_is_not_deleted(cluster: ApiCluster) -> None:
    await make(cluster, holidays())
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("report", schedule=daily("holidays"))))
    delete = calendar_pb2.DeleteCalendarRequest(name="holidays")
    told = await refused(cluster.caller().calendars.DeleteCalendar(delete))
    assert (told.code, "report" in told.message) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    await tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="report"))
    await cluster.caller().calendars.DeleteCalendar(delete)
    get = calendar_pb2.GetCalendarRequest(name="holidays")
    assert (await refused(cluster.caller().calendars.GetCalendar(get))).code is grpc.StatusCode.NOT_FOUND


@on_cluster()
async def test_a_change_of_what_was_changed_meanwhile_is_refused(cluster: ApiCluster) -> None:
    made = await make(cluster, holidays())
    await change(cluster, holidays("2100-01-04", etag=made.etag))
    told = await refused(change(cluster, holidays("2100-01-05", etag=made.etag)))
    assert told.code is grpc.StatusCode.ABORTED
    assert (await refused(change(cluster, holidays(name="none")))).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("task.schedule.calendars", daily("none")),
        ("task.schedule.calendars[0]", daily("n" * 600)),
        ("task.schedule.calendars[1]", daily("full", "full")),
        ("task.schedule.calendars", daily(*(f"c{number}" for number in range(17)))),
        ("task.schedule.calendars", schedule(at=FAR, calendars=["full"])),
        ("task.schedule.union.schedules[0].calendars", schedule(union=[daily("none")])),
    ],
)
@on_cluster()
async def test_a_calendar_that_a_task_cannot_name_is_refused(
    cluster: ApiCluster, field: str, wanted: task_pb2.Schedule
) -> None:
    await make(cluster, holidays("2100-01-04", name="full"))
    told = await refused(cluster.caller().tasks.CreateTask(create(task("report", schedule=wanted))))
    assert (told.code, list(told.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


@on_cluster()
async def test_a_batch_names_the_tasks_whose_calendar_does_not_exist(cluster: ApiCluster) -> None:
    await make(cluster, holidays("2100-01-04"))
    tasks = [task("a", schedule=daily("holidays")), task("b", schedule=daily("none"))]
    request = task_pb2.BatchCreateTasksRequest(tasks=tasks, request_id="r")
    for _ in range(2):
        results = (await cluster.caller().tasks.BatchCreateTasks(request)).results
        assert [(each.code, each.field) for each in results] == [(0, ""), (3, "task.schedule.calendars")]
    assert await next_day(cluster, "a") == 5


@on_cluster()
async def test_the_preview_of_a_schedule_knows_its_calendars(cluster: ApiCluster) -> None:
    await make(cluster, holidays("2100-01-04"))
    request = task_pb2.PreviewScheduleRequest(schedule=daily("holidays"), count=1)
    (at,) = (await cluster.caller().tasks.PreviewSchedule(request)).nominal_times
    assert at.ToDatetime().day == 5


@on_cluster()
async def test_tasks_and_calendars_that_change_at_once_agree_in_the_end(cluster: ApiCluster) -> None:
    await make(cluster, holidays())

    async def register(number: int) -> None:
        await cluster.caller().tasks.CreateTask(create(task(f"t{number}", schedule=daily("holidays"))))

    async def exclude(day: int) -> None:
        await change(cluster, holidays(f"2100-01-{day:02}"))

    await asyncio.gather(*(register(number) for number in range(5)), exclude(4))
    assert {await next_day(cluster, f"t{number}") for number in range(5)} == {5}


@on_cluster()
async def test_a_backfill_leaves_out_what_a_calendar_excludes(cluster: ApiCluster) -> None:
    await make(cluster, holidays("2026-01-05"))
    wanted = schedule(cron="0 9 * * *", start=datetime(2026, 1, 4, tzinfo=UTC), calendars=["holidays"])
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("report", schedule=wanted)))
    request = task_pb2.BackfillTaskRequest(name="report", dry_run=True)
    request.start_time.FromDatetime(datetime(2026, 1, 4, tzinfo=UTC))
    request.end_time.FromDatetime(datetime(2026, 1, 7, tzinfo=UTC))
    times = (await tasks.BackfillTask(request)).times
    assert [each.nominal_time.ToDatetime().day for each in times] == [4, 6]
