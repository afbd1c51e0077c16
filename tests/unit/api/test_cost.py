"""Counts come before contents: what is refused for its size is not looked into, and what is accepted is bounded.

Held as counts of what is looked at, never as times.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from raftsched_proto.v1 import calendar_pb2, task_pb2

from raftsched.api.door import requests
from raftsched.api.door.errors import ApiError
from raftsched.api.tasks.batch import create_tasks
from raftsched.api.tasks.preview import preview
from raftsched.core.machine import MAX_BATCH_TASKS
from raftsched.core.state import rows
from raftsched.core.times import schedule
from raftsched.core.times.schedule import MAX_SEARCH
from raftsched.definitions import task as validate
from raftsched.definitions.violations import Invalid, Violations
from tests.support.api_cluster import ApiCluster, on_cluster, refused

NOW_US = 1_800_000_000_000_000
CRON = task_pb2.Schedule(cron=task_pb2.CronSchedule(expression="*/2 * * * * *"))


def task(kind: task_pb2.Schedule, name: str = "t") -> task_pb2.Task:
    found = task_pb2.Task(name=name, schedule=kind)
    found.action.noop.SetInParent()
    return found


def union(*members: task_pb2.Schedule) -> task_pb2.Schedule:
    return task_pb2.Schedule(union=task_pb2.UnionSchedule(schedules=members))


HOSTILE = {
    "300 unions of 400": union(*[union(*[CRON] * 400)] * 300),
    "a union of 17": union(*[CRON] * 17),
    "a union of unions": union(union(*[CRON] * 16)),
    "a union of none": union(),
    "256 KiB of a schedule": union(*[CRON] * 12_000),
}


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was looked into: the readers of schedules and what checks the parts of a definition."""
    seen: list[str] = []

    def counted(module: Any, name: str) -> None:
        real: Callable[..., object] = getattr(module, name)

        def call(*arguments: object, **named: object) -> object:
            seen.append(name)
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    counted(validate, "schedule_from_proto")
    counted(validate, "_check_schedule_times")
    counted(rows, "schedule_from_proto")
    counted(schedule, "next_fire")
    return seen


@pytest.mark.parametrize("name", HOSTILE)
def test_a_union_that_has_too_much_is_refused_before_its_members_are_read(name: str, looked_at: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        validate.new_task(task(HOSTILE[name]), NOW_US)
    assert caught.value.violations
    # The schedule itself, once at most.
    assert len(looked_at) <= 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_preview_refuses_it_as_early(name: str, looked_at: list[str]) -> None:
    response = preview(task_pb2.PreviewScheduleRequest(schedule=HOSTILE[name]), NOW_US)
    assert len(response.problems) == 1
    assert len(looked_at) <= 1


def test_a_task_that_is_too_large_is_refused_for_that_alone(looked_at: list[str]) -> None:
    huge = task(CRON)
    huge.action.command.argv.extend([""] * 200_000)
    with pytest.raises(Invalid) as caught:
        validate.new_task(huge, NOW_US)
    assert [each.field for each in caught.value.violations] == ["task"]
    assert looked_at == []


def test_a_batch_with_too_many_tasks_is_refused_before_any_is_made() -> None:
    class Sent(list[task_pb2.Task]):
        def __len__(self) -> int:
            return MAX_BATCH_TASKS + 1

        def __iter__(self) -> Iterator[task_pb2.Task]:
            raise AssertionError("the tasks were looked at")

    async def test() -> None:
        with pytest.raises(ApiError, match="at most"):
            await create_tasks(None, None, Sent(), "")  # type: ignore[arg-type]  # neither is asked

    asyncio.run(test())


def test_violations_are_noted_up_to_a_bound() -> None:
    violations = Violations()
    for number in range(100_000):
        violations.add("field", str(number))
    with pytest.raises(Invalid) as caught:
        violations.raise_any()
    assert len(caught.value.violations) <= 100


def windows(count: int, first: int = 0) -> list[task_pb2.Exclusion]:
    """Windows that each leave out one nominal time of ``CRON``, in a row from now on."""
    found = [task_pb2.Exclusion() for _ in range(count)]
    for number, each in enumerate(found, start=first):
        each.start_time.FromMicroseconds(NOW_US + number * 2_000_000)
        each.end_time.FromMicroseconds(NOW_US + number * 2_000_000 + 1_000_000)
    return found


def excluding(kind: task_pb2.Schedule, exclusions: list[task_pb2.Exclusion], *calendars: str) -> task_pb2.Schedule:
    found = task_pb2.Schedule()
    found.CopyFrom(kind)
    found.exclusions.extend(exclusions)
    found.calendars.extend(calendars)
    return found


def test_no_search_steps_over_more_exclusions_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    real = schedule._next

    def counted(kind: Any, after_us: int) -> int:
        nonlocal steps
        steps += 1
        return real(kind, after_us)

    monkeypatch.setattr(schedule, "_next", counted)
    each = excluding(CRON, windows(400))
    worst = excluding(union(*[each] * 9), windows(400, 400))
    found = rows.schedule_from_proto(worst, "t")
    assert schedule.too_long_a_search(found) == ""
    assert schedule.next_fire(found, NOW_US - 1) == NOW_US + 800 * 2_000_000
    # Each search also finds what it stops at, and each turn asks the union itself.
    assert steps <= 2 * MAX_SEARCH
    more = rows.schedule_from_proto(excluding(union(*[each] * 16), windows(400, 400)), "t")
    assert "12,800 exclusions" in schedule.too_long_a_search(more)
    with pytest.raises(Invalid) as caught:
        validate.new_task(task(excluding(union(*[each] * 16), windows(400, 400))), NOW_US)
    assert [violation.field for violation in caught.value.violations] == ["task.schedule"]


@on_cluster()
async def test_a_calendar_does_not_grow_beyond_what_its_tasks_may_step_over(cluster: ApiCluster) -> None:
    caller = cluster.caller()
    calendar = calendar_pb2.Calendar(name="c", exclusions=windows(1))
    await caller.calendars.CreateCalendar(calendar_pb2.CreateCalendarRequest(calendar=calendar))
    wide = task(excluding(union(*[CRON] * 16), [], "c"), "wide")
    await caller.tasks.CreateTask(task_pb2.CreateTaskRequest(task=wide))
    calendar.exclusions.extend(windows(400, 1))
    await caller.calendars.UpdateCalendar(calendar_pb2.UpdateCalendarRequest(calendar=calendar))
    calendar.exclusions.extend(windows(200, 401))
    told = await refused(caller.calendars.UpdateCalendar(calendar_pb2.UpdateCalendarRequest(calendar=calendar)))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "wide" in told.message


@on_cluster()
async def test_a_request_beyond_its_bound_is_refused_before_it_is_read(cluster: ApiCluster) -> None:
    channel = cluster.caller().channel
    for method, bound in (("CreateTask", requests.MAX_CALL_BYTES), ("BatchCreateTasks", requests.MAX_BATCH_BYTES)):
        # Were it read, it would be told that it is no message.
        told = await refused(channel.unary_unary(f"/raftsched.v1.TaskService/{method}")(b"\xff" * (bound + 1)))
        assert (told.code, told.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
        assert "at most" in told.message


def read(data: bytes) -> task_pb2.BatchCreateTasksRequest:
    def parse(_: bytes) -> task_pb2.BatchCreateTasksRequest:
        raise AssertionError("all of it was read at once")

    path = "/raftsched.v1.TaskService/BatchCreateTasks"
    found, _ = asyncio.run(requests.read_request(path, data, parse))
    assert isinstance(found, task_pb2.BatchCreateTasksRequest)
    return found


def test_the_tasks_of_a_batch_are_counted_before_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "task_pb2", None)
    with pytest.raises(ApiError) as caught:
        read(b"\x0a\x00" * 2_000_000)
    assert "2,000,000 tasks" in caught.value.message


def test_a_large_batch_is_read_in_turns_as_it_would_be_at_once() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    batch = task_pb2.BatchCreateTasksRequest(
        request_id="r", tasks=[task(union(*[CRON] * 200), f"t{n}") for n in range(50)]
    )
    data = batch.SerializeToString()

    async def test() -> None:
        counter = asyncio.create_task(count())
        path = "/raftsched.v1.TaskService/BatchCreateTasks"
        found = await requests.read_request(path, data, task_pb2.BatchCreateTasksRequest.FromString)
        counter.cancel()
        assert found == (batch, "")

    asyncio.run(test())
    assert turns >= len(data) // requests._TURN_BYTES


@pytest.mark.parametrize("data", [b"\x0a\x05\xff" + b"x" * 100_000, b"\x0a\x01\xff" * 30_000])
def test_a_large_batch_that_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        read(data[:99_999])
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_task_of_a_batch_that_is_too_large_is_refused_by_itself_and_not_read() -> None:
    huge = task(union(*[task_pb2.Schedule()] * 600_000), "huge")
    batch = task_pb2.BatchCreateTasksRequest(tasks=[task(CRON, "fine"), huge])
    fine, found = read(batch.SerializeToString()).tasks
    assert (fine.name, found.name, found.HasField("schedule")) == ("fine", "huge", False)
    with pytest.raises(Invalid, match="at most"):
        validate.new_task(found, NOW_US)
