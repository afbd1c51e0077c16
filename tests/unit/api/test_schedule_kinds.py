"""Recurrence rules and unions as the API takes them: defaults written out, fields named."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from raftsched_client import schedule, task
from raftsched_proto.v1 import task_pb2

from raftsched.definitions.task import changed_task, new_task
from raftsched.definitions.violations import Invalid

NOW_US = 1_777_932_000_000_000  # 2026-05-04T22:00:00Z
UNION = "task.schedule.union.schedules"


def refused(message: task_pb2.Task) -> list[str]:
    with pytest.raises(Invalid) as error:
        new_task(message, NOW_US)
    return [violation.field for violation in error.value.violations]


def test_the_start_of_a_rule_is_written_out_and_kept_by_a_change() -> None:
    registered = new_task(task("t", rrule="FREQ=DAILY;BYHOUR=9", zone="Asia/Tokyo", noop=True), NOW_US).task
    assert registered.schedule.rrule.lines == "DTSTART:20260505T000000\nFREQ=DAILY;BYHOUR=9"
    registered.create_time.FromMicroseconds(NOW_US)
    wanted = task("t", rrule="FREQ=DAILY;BYHOUR=10", zone="Asia/Tokyo", noop=True)
    later = changed_task(registered, wanted, FieldMask(paths=["schedule"]), NOW_US + 86_400_000_000)
    assert later.schedule.rrule.lines == "DTSTART:20260505T000000\nFREQ=DAILY;BYHOUR=10"


def test_the_zone_of_a_rule_is_the_one_that_its_lines_name() -> None:
    lines = "DTSTART;TZID=America/New_York:20270101T090000\nRRULE:FREQ=DAILY"
    new = new_task(task("t", rrule=lines, noop=True), NOW_US)
    assert new.task.schedule.rrule.time_zone == "America/New_York"
    assert new.next_us == 1_798_812_000_000_000  # 2027-01-01T14:00:00Z
    assert refused(task("t", rrule=lines, zone="Asia/Tokyo", noop=True)) == ["task.schedule.rrule.lines"]


def test_members_of_a_union_get_their_defaults() -> None:
    members = [schedule(cron="@daily"), schedule(rrule="FREQ=DAILY"), schedule(every=timedelta(minutes=1))]
    union = new_task(task("t", union=members, noop=True), NOW_US).task.schedule.union
    assert union.schedules[0].cron.time_zone == "UTC"
    assert union.schedules[1].rrule.lines.startswith("DTSTART:20260504T000000")
    assert union.schedules[2].interval.anchor.ToMicroseconds() == NOW_US


def test_what_is_wrong_with_a_member_is_named_by_its_place() -> None:
    good = schedule(cron="@daily")
    bad = [
        (schedule(cron="61 * * * *"), f"{UNION}[1].cron.expression"),
        (schedule(cron="@daily", zone="Mars/Olympus"), f"{UNION}[1].cron.time_zone"),
        (schedule(rrule="FREQ=NEVER"), f"{UNION}[1].rrule.lines"),
        (schedule(rrule="FREQ=DAILY;COUNT=2"), f"{UNION}[1].rrule.lines"),
        (schedule(rrule="FREQ=DAILY", zone="Mars/Olympus"), f"{UNION}[1].rrule.time_zone"),
        (task_pb2.Schedule(), f"{UNION}[1]"),
        (schedule(union=[good]), f"{UNION}[1].union"),
    ]
    for member, field in bad:
        assert refused(task("t", union=[good, member], noop=True)) == [field]
    assert refused(task("t", union=[good] * 17, noop=True)) == [UNION]
    assert refused(task("t", union=[], noop=True)) == [UNION]


def test_a_union_that_is_nested_deeply_is_refused() -> None:
    nested = schedule(cron="@daily")
    for _ in range(20):
        nested = schedule(union=[nested])
    assert refused(task("t", union=[nested], noop=True)) == [f"{UNION}[0].union"]


def excluding(*exclusions: task_pb2.Exclusion) -> task_pb2.Task:
    return task("t", cron="0 9 * * *", zone="Europe/Berlin", exclude=exclusions, noop=True)


def test_the_first_nominal_time_is_not_an_excluded_one() -> None:
    new = new_task(excluding(task_pb2.Exclusion(date="2026-05-05", last_date="2026-05-06")), NOW_US)
    assert new.next_us == 1_778_137_200_000_000  # 2026-05-07T07:00:00Z


def test_what_is_wrong_with_an_exclusion_is_named() -> None:
    window = task_pb2.Exclusion()
    window.start_time.FromSeconds(2_000_000_000)
    backwards = task_pb2.Exclusion()
    backwards.CopyFrom(window)
    backwards.end_time.FromSeconds(1_900_000_000)
    both = task_pb2.Exclusion(date="2026-05-05")
    both.start_time.FromSeconds(1_900_000_000)
    both.end_time.FromSeconds(2_000_000_000)
    at = "task.schedule.exclusions"
    for exclusion, field in [
        (task_pb2.Exclusion(), f"{at}[0].date"),
        (task_pb2.Exclusion(date="20260505"), f"{at}[0].date"),
        (task_pb2.Exclusion(date="2026-02-30"), f"{at}[0].date"),
        (task_pb2.Exclusion(date="2026-05-05", last_date="2026-05-04"), f"{at}[0].last_date"),
        (task_pb2.Exclusion(date="2026-05-05", reason="x" * 201), f"{at}[0].reason"),
        (window, f"{at}[0].end_time"),
        (backwards, f"{at}[0].end_time"),
        (both, f"{at}[0]"),
    ]:
        assert refused(excluding(exclusion))[:1] == [field]
    ended = excluding(task_pb2.Exclusion(date="2026-05-01", last_date="2026-06-01"))
    ended.schedule.start_time.FromMicroseconds(NOW_US)
    ended.schedule.end_time.FromMicroseconds(NOW_US + 86_400_000_000)
    assert refused(ended) == [at]
    assert refused(excluding(*[task_pb2.Exclusion(date="2026-05-05")] * 401)) == [at]


def test_a_one_time_task_cannot_fall_into_its_exclusion() -> None:
    at = datetime(2026, 12, 25, 9, tzinfo=UTC)
    assert refused(task("t", at=at, exclude=[task_pb2.Exclusion(date="2026-12-25")], noop=True)) == [
        "task.schedule.exclusions"
    ]
