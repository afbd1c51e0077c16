"""Hashed values in cron expressions: numbers that follow from the name of the task."""

from collections import Counter
from datetime import date, timedelta

import pytest

from raftsched.core.state.model import SECOND_US, Cron, Schedule
from raftsched.core.times import cron
from raftsched.core.times.cron_hash import resolve
from raftsched.core.times.schedule import next_fire


@pytest.mark.parametrize("expression", ["*/5 * * * *", "@hourly", "0 0 * MAR thu", "0 9 15W,L * 5#2", "", "h", "~ ~"])
def test_what_has_no_hashed_value_stays_as_it_is(expression: str) -> None:
    assert resolve(expression, "t") == expression


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("H(5-1) * * * *", "minute field"),
        ("H(0-60) * * * *", "minute field"),
        ("H/0 * * * *", "minute field"),
        ("H( * * * *", "minute field"),
        ("30~10 * * * *", "minute field"),
        ("* 20~24 * * *", "hour field"),
        ("* * 0~5 * *", "day of month field"),
        ("* * * H(0-3) *", "month field"),
        ("* * * * 1~8", "day of week field"),
        ("1-~ * * * *", "minute field"),
        ("HH * * * *", "minute field"),
    ],
)
def test_a_hashed_value_that_is_not_well_formed_is_refused_with_its_field(expression: str, field: str) -> None:
    with pytest.raises(cron.CronError, match=field):
        cron.parse(resolve(expression, "t"))


@pytest.mark.parametrize("written", ["H", "h", "~", "0~59", "H(0-59)", "~59", "0~"])
def test_all_ways_to_write_it_give_the_same_number(written: str) -> None:
    assert resolve(f"{written} 3 * * *", "report") == "54 3 * * *"


@pytest.mark.parametrize("written", ["H/15", "~/15", "0~59/15", "H(0-59)/15"])
def test_a_step_begins_at_a_number_below_it(written: str) -> None:
    assert resolve(f"{written} * * * *", "report") == "9-59/15 * * * *"


def test_a_step_beyond_the_range_leaves_one_number() -> None:
    assert resolve("H(10-20)/30 * * * *", "report").split()[0].isdecimal()


def test_items_of_a_list_and_fields_have_numbers_of_their_own() -> None:
    minute, hour, *_ = resolve("H,H,30 H * * *", "report").split()
    first, second, third = minute.split(",")
    assert third == "30"
    assert first != second
    assert hour != first


def test_days_of_the_month_come_in_every_month() -> None:
    days = {int(resolve("0 0 H * *", f"task-{number}").split()[2]) for number in range(2000)}
    assert days == set(range(1, 29))


def test_a_herd_spreads_over_the_hour() -> None:
    minutes = Counter(int(resolve("H * * * *", f"task-{number}").split()[0]) for number in range(60_000))
    assert set(minutes) == set(range(60))
    # 1,000 each, with a standard deviation of 31.
    assert max(minutes.values()) < 1_200
    assert min(minutes.values()) > 800


def test_the_nearest_weekday_is_what_a_calendar_says() -> None:
    def nearest(day: date) -> date:
        near = [day + timedelta(days=away) for away in (0, -1, 1, -2, 2)]
        return next(each for each in near if each.month == day.month and each.weekday() < 5)

    for number, text in [(1, "1W"), (15, "15W"), (30, "30W"), (31, "31W"), (0, "LW")]:
        schedule = Schedule(Cron(f"0 0 {text} * *"))
        wanted = []
        for year in range(2024, 2032):
            for month in range(1, 13):
                last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
                if number <= last:
                    wanted.append(nearest(date(year, month, number or last)))
        at_us, found = (date(2024, 1, 1) - date(1970, 1, 1)).days * 86_400 * SECOND_US - 1, []
        while len(found) < len(wanted):
            at_us = next_fire(schedule, at_us)
            found.append(date(1970, 1, 1) + timedelta(seconds=at_us // SECOND_US))
        assert found == wanted, text
