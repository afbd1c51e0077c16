"""Days and windows that a schedule leaves out."""

from datetime import date, datetime

import pytest

from raftsched.core.state.model import SECOND_US, At, Interval, Schedule, Union
from raftsched.core.times.exclusion import Exclusion, Exclusions
from raftsched.core.times.schedule import MAX_TIME_US, ScheduleError, fires, next_fire, validate

HOUR_US = 3600 * SECOND_US


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * SECOND_US


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


def days(first: str, last: str, zone: str = "UTC") -> Exclusions:
    return Exclusions((Exclusion(day(first), day(last)),), zone)


def window(start_us: int, end_us: int) -> Exclusion:
    return Exclusion(start_us=start_us, end_us=end_us)


def test_a_window_holds_its_start_and_not_its_end() -> None:
    found = Exclusions((window(100, 200), window(300, 400)))
    assert [found.end_of(at_us) for at_us in (99, 100, 199, 200, 299, 300, 399, 400)] == [
        *(0, 200, 200, 0),
        *(0, 400, 400, 0),
    ]


def test_windows_that_touch_or_overlap_are_one() -> None:
    found = Exclusions((window(300, 350), window(100, 200), window(200, 300), window(120, 130), window(351, 400)))
    assert [found.end_of(at_us) for at_us in (100, 125, 299, 349, 350, 351)] == [350, 350, 350, 350, 0, 400]


@pytest.mark.parametrize(
    ("zone", "begin", "end"),
    [
        ("UTC", "2026-12-24T00:00:00+00:00", "2026-12-27T00:00:00+00:00"),
        ("Europe/Berlin", "2026-12-24T00:00:00+01:00", "2026-12-27T00:00:00+01:00"),
        ("Pacific/Kiritimati", "2026-12-24T00:00:00+14:00", "2026-12-27T00:00:00+14:00"),
        ("Pacific/Pago_Pago", "2026-12-24T00:00:00-11:00", "2026-12-27T00:00:00-11:00"),
    ],
)
def test_days_are_those_of_the_wall_clock_of_their_zone(zone: str, begin: str, end: str) -> None:
    found = days("2026-12-24", "2026-12-26", zone)
    assert [found.end_of(at_us) for at_us in (us(begin) - 1, us(begin), us(end) - 1, us(end))] == [
        *(0, us(end)),
        *(us(end), 0),
    ]


@pytest.mark.parametrize(
    ("zone", "day_of_change", "begin", "end"),
    [
        # From 0:00 back to 23:00: it is the day before once more.
        ("Asia/Beirut", "2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+02:00"),
        ("America/Santiago", "2026-04-05", "2026-04-05T00:00:00-04:00", "2026-04-06T00:00:00-04:00"),
        # From 1:00 back to 0:00: it stays the same day.
        ("America/Havana", "2026-11-01", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"),
    ],
)
def test_a_day_begins_when_the_clock_shows_it_for_good(zone: str, day_of_change: str, begin: str, end: str) -> None:
    found = days(day_of_change, day_of_change, zone)
    assert found.end_of(us(begin) - 1) == 0
    assert found.end_of(us(begin)) == us(end)


@pytest.mark.parametrize(
    ("zone", "day_of_change", "begin", "end"),
    [
        ("Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00", "2026-03-30T00:00:00+03:00"),
        ("America/Havana", "2026-03-08", "2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00"),
    ],
)
def test_a_day_without_a_midnight_begins_when_the_clock_first_shows_it(
    zone: str, day_of_change: str, begin: str, end: str
) -> None:
    """The clock goes forward from 0:00 to 1:00."""
    found = days(day_of_change, day_of_change, zone)
    assert found.end_of(us(begin) - 1) == 0
    assert found.end_of(us(begin)) == us(end)


def test_the_first_and_the_last_day_that_there_are_can_be_left_out() -> None:
    assert days("1970-01-01", "1970-01-01").end_of(0) == 24 * HOUR_US
    assert days("9999-12-31", "9999-12-31").end_of(us("9999-12-31T12:00:00+00:00")) > us("9999-12-31T23:59:59+00:00")


class TestOfASchedule:
    def test_an_interval_does_not_fire_in_them(self) -> None:
        noon_us = us("2026-05-04T12:00:00+00:00")
        left_out = (Exclusions((window(noon_us + HOUR_US, noon_us + 3 * HOUR_US),)),)
        schedule = Schedule(Interval(HOUR_US, noon_us), exclusions=left_out)
        wanted = [noon_us, noon_us + 3 * HOUR_US, noon_us + 4 * HOUR_US]
        assert fires(schedule, noon_us, noon_us + 4 * HOUR_US, 10) == wanted

    def test_the_last_moment_of_9999_may_be_a_nominal_time(self) -> None:
        assert next_fire(Schedule(At(MAX_TIME_US)), 0) == MAX_TIME_US

    @pytest.mark.parametrize(("calendar", "field"), [("", "schedule.exclusions"), ("c", "schedule.calendars")])
    def test_a_zone_that_is_none_is_refused_with_where_it_comes_from(self, calendar: str, field: str) -> None:
        left_out = (Exclusions((window(1, 2),), "Mars/Olympus", calendar),)
        with pytest.raises(ScheduleError, match="unknown time zone 'Mars/Olympus'") as refused:
            validate(Schedule(Interval(HOUR_US, 0), exclusions=left_out))
        assert refused.value.field == field

    def test_more_than_a_search_may_look_at_are_refused(self) -> None:
        windows = tuple(window(10 * number, 10 * number + 1) for number in range(1, 200_001))
        with pytest.raises(ScheduleError, match="200,000 exclusions") as refused:
            validate(Schedule(Interval(HOUR_US, 0), exclusions=(Exclusions(windows),)))
        assert refused.value.field == "schedule"

    @pytest.mark.parametrize(
        ("schedules", "field", "message"),
        [
            ((), "schedule.union.schedules", "has 0 schedules"),
            ((Schedule(Union((Schedule(At(1)),))),), "schedule.union.schedules[0].union", "cannot hold another one"),
            ((Schedule(At(1)), Schedule(At(0))), "schedule.union.schedules[1].at", "between 1970 and 9999"),
        ],
    )
    def test_a_union_is_refused_with_the_schedule_of_it(
        self, schedules: tuple[Schedule, ...], field: str, message: str
    ) -> None:
        with pytest.raises(ScheduleError, match=message) as refused:
            validate(Schedule(Union(schedules)))
        assert refused.value.field == field

    def test_a_union_may_hold_one_schedule(self) -> None:
        validate(Schedule(Union((Schedule(At(1)),))))
