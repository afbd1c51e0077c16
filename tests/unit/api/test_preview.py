"""PreviewSchedule: what a schedule gives, or what is wrong with it, answered by any node."""

import asyncio
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import task_pb2

from raftsched.api.door.errors import ApiError
from raftsched.api.tasks.preview import preview
from raftsched.ports import Role
from tests.support.api_cluster import ScriptedLog, api_cluster

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NOW_US = int(NOON.timestamp()) * 1_000_000


def cron(expression: str, zone: str = "", **more: object) -> task_pb2.PreviewScheduleRequest:
    request = task_pb2.PreviewScheduleRequest(**more)
    request.schedule.cron.expression = expression
    request.schedule.cron.time_zone = zone
    return request


def with_policies(gap: int = 0, fold: int = 0) -> task_pb2.PreviewScheduleRequest:
    request = cron("@daily")
    request.schedule.cron.gap = gap
    request.schedule.cron.fold = fold
    return request


def hours(response: task_pb2.PreviewScheduleResponse) -> list[str]:
    return [each.ToJsonString() for each in response.nominal_times]


def test_the_times_follow_the_present_in_the_zone_of_the_schedule() -> None:
    response = preview(cron("0 9 * * *", "Europe/Berlin", count=2), NOW_US)
    assert hours(response) == ["2030-01-02T08:00:00Z", "2030-01-03T08:00:00Z"]
    assert not response.problems


def test_the_times_follow_the_one_that_was_asked_for() -> None:
    after = Timestamp(seconds=int(datetime(2031, 6, 1, tzinfo=UTC).timestamp()))
    assert hours(preview(cron("@daily", count=1, after=after), NOW_US)) == ["2031-06-02T00:00:00Z"]


def test_hashed_values_follow_from_the_name_of_the_task() -> None:
    assert hours(preview(cron("H 3 * * *", task_name="report", count=1), NOW_US)) == ["2030-01-02T03:54:00Z"]
    assert hours(preview(cron("H 3 * * *", task_name="billing", count=1), NOW_US)) == ["2030-01-02T03:19:00Z"]


def test_policies_for_clock_changes_are_followed() -> None:
    request = cron("30 1 * * *", "America/New_York", count=1, after=Timestamp(seconds=1_793_505_600))
    request.schedule.cron.fold = task_pb2.FOLD_POLICY_LAST
    assert hours(preview(request, NOW_US)) == ["2026-11-01T06:30:00Z"]


def test_ten_times_come_unless_told_otherwise() -> None:
    assert len(preview(cron("* * * * *"), NOW_US).nominal_times) == 10


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (cron("61 * * * *"), "schedule.cron.expression"),
        (cron("@daily", "Mars/Olympus"), "schedule.cron.time_zone"),
        (with_policies(gap=3), "schedule.cron.gap"),
        (with_policies(fold=4), "schedule.cron.fold"),
        (task_pb2.PreviewScheduleRequest(), "schedule"),
        (task_pb2.PreviewScheduleRequest(schedule=task_pb2.Schedule(at=Timestamp(seconds=1))), "schedule"),
    ],
)
def test_a_schedule_that_would_be_refused_is_told_with_its_field(
    request_: task_pb2.PreviewScheduleRequest, field: str
) -> None:
    response = preview(request_, NOW_US)
    assert not response.nominal_times
    assert [problem.field for problem in response.problems] == [field]
    assert response.problems[0].description


@pytest.mark.parametrize("count", [-1, 101])
def test_a_count_beyond_the_bound_is_refused(count: int) -> None:
    with pytest.raises(ApiError) as caught:
        preview(cron("@daily", count=count), NOW_US)
    assert (caught.value.code, caught.value.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "count")


def test_a_node_that_knows_no_leader_answers() -> None:
    async def ask() -> task_pb2.PreviewScheduleResponse:
        async with api_cluster(log=ScriptedLog(role=Role.FOLLOWER, leader_id="")) as cluster:
            return await cluster.caller().tasks.PreviewSchedule(cron("@daily"))

    assert len(asyncio.run(ask()).nominal_times) == 10


def test_what_may_not_be_meant_is_said_beside_the_times() -> None:
    response = preview(cron("*/90 * * * *", count=1), NOW_US)
    assert hours(response) == ["2030-01-01T13:00:00Z"]
    (warning,) = response.warnings
    assert warning.field == "schedule.cron.expression"
    assert warning.description == "minute field '*/90': a step of 90 is longer than 0 to 59: only 0 is left"
    assert not preview(cron("0 * * * *"), NOW_US).warnings
    assert not preview(cron("*/90 25 * * *"), NOW_US).warnings
