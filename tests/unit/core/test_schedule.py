"""Intervals, one-time schedules, validity, and what is refused. Cron has a module of its own."""

from datetime import datetime

import pytest

from raftsched.core.state.model import SECOND_US, At, Cron, Interval, Schedule
from raftsched.core.times.schedule import (
    MAX_COUNT,
    MAX_TIME_US,
    ScheduleError,
    count_fires,
    fires,
    last_fire,
    next_fire,
    validate,
)

MINUTE_US = 60 * SECOND_US


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * SECOND_US


NOON_US = us("2026-05-04T12:00:00+00:00")


def test_one_time_schedule_fires_once() -> None:
    schedule = Schedule(At(NOON_US + 123))
    assert next_fire(schedule, 0) == NOON_US + 123
    assert next_fire(schedule, NOON_US + 122) == NOON_US + 123
    assert next_fire(schedule, NOON_US + 123) == 0


def test_interval_fires_at_anchor_plus_multiples_to_the_microsecond() -> None:
    schedule = Schedule(Interval(1_500_001, NOON_US + 7))
    assert next_fire(schedule, 0) == NOON_US + 7
    assert next_fire(schedule, NOON_US + 7) == NOON_US + 7 + 1_500_001
    assert next_fire(schedule, NOON_US + 7 + 10 * 1_500_001 - 1) == NOON_US + 7 + 10 * 1_500_001


def test_an_interval_anchored_at_the_epoch_begins_one_step_later_because_0_means_none() -> None:
    assert next_fire(Schedule(Interval(MINUTE_US, 0)), 0) == MINUTE_US


@pytest.mark.parametrize("kind", [Cron("*/5 * * * *"), Interval(5 * MINUTE_US, NOON_US - 60 * MINUTE_US)])
def test_validity_includes_the_start_and_excludes_the_end(kind: Cron | Interval) -> None:
    schedule = Schedule(kind, start_us=NOON_US, end_us=NOON_US + 10 * MINUTE_US)
    assert fires(schedule, 0, MAX_TIME_US, 100) == [NOON_US, NOON_US + 5 * MINUTE_US]
    assert last_fire(schedule, MAX_TIME_US) == NOON_US + 5 * MINUTE_US
    assert fires(Schedule(kind, NOON_US + 1, NOON_US + 10 * MINUTE_US + 1), 0, MAX_TIME_US, 9) == [
        NOON_US + 5 * MINUTE_US,
        NOON_US + 10 * MINUTE_US,
    ]


@pytest.mark.parametrize("kind", [Cron("* * * * *"), Interval(MINUTE_US, NOON_US)])
def test_fires_takes_both_ends_and_stops_at_the_limit(kind: Cron | Interval) -> None:
    schedule = Schedule(kind)
    wanted = [NOON_US + n * MINUTE_US for n in range(5)]
    assert fires(schedule, NOON_US, wanted[-1], 100) == wanted
    assert fires(schedule, NOON_US - MINUTE_US + 1, wanted[-1] + MINUTE_US - 1, 100) == wanted
    assert fires(schedule, NOON_US, MAX_TIME_US, 3) == wanted[:3]
    assert fires(schedule, NOON_US + 1, NOON_US + 2, 3) == []


@pytest.mark.parametrize("kind", [Cron("* * * * *"), Interval(MINUTE_US, NOON_US)])
def test_count_gives_up_beyond_its_bound(kind: Cron | Interval) -> None:
    schedule = Schedule(kind)
    assert count_fires(schedule, NOON_US, NOON_US + (MAX_COUNT - 1) * MINUTE_US) == MAX_COUNT
    assert count_fires(schedule, NOON_US, NOON_US + MAX_COUNT * MINUTE_US) == 0


@pytest.mark.parametrize("kind", [Cron("0 12 29 2 *"), Interval(7 * SECOND_US, 1), At(NOON_US)])
def test_last_fire_is_the_one_that_no_other_follows(kind: Cron | Interval | At) -> None:
    schedule = Schedule(kind)
    last_us = last_fire(schedule, NOON_US)
    assert 0 < last_us <= NOON_US
    assert next_fire(schedule, last_us - 1) == last_us
    assert not 0 < next_fire(schedule, last_us) <= NOON_US


def test_last_fire_is_0_before_the_first() -> None:
    assert last_fire(Schedule(At(NOON_US)), NOON_US - 1) == 0
    assert last_fire(Schedule(Interval(MINUTE_US, NOON_US)), NOON_US - 1) == 0


def test_nothing_fires_after_the_year_9999() -> None:
    assert next_fire(Schedule(Interval(MINUTE_US, NOON_US)), MAX_TIME_US) == 0
    assert next_fire(Schedule(Cron("* * * * *", "Pacific/Kiritimati")), MAX_TIME_US) == 0
    assert next_fire(Schedule(Cron("0 0 29 2 *")), us("9997-01-01T00:00:00+00:00")) == 0


@pytest.mark.parametrize(
    ("schedule", "field", "message"),
    [
        (Schedule(At(0)), "schedule.at", "between 1970 and 9999"),
        (Schedule(At(MAX_TIME_US + 1)), "schedule.at", "between 1970 and 9999"),
        (Schedule(At(NOON_US), start_us=NOON_US + 1), "schedule.at", "never fires"),
        (Schedule(At(NOON_US), end_us=NOON_US), "schedule.at", "never fires"),
        (Schedule(Interval(SECOND_US - 1, NOON_US)), "schedule.interval.every",
         "0.999999 s: the interval must be at least 1 s"),
        (Schedule(Interval(0, NOON_US)), "schedule.interval.every", "at least 1 s"),
        (Schedule(Interval(-SECOND_US, NOON_US)), "schedule.interval.every", "at least 1 s"),
        (Schedule(Interval(SECOND_US, -1)), "schedule.interval.anchor", "between 1970 and 9999"),
        (Schedule(Interval(SECOND_US, NOON_US), end_us=NOON_US), "schedule.end_time", "never fires"),
        (Schedule(Interval(SECOND_US, MAX_TIME_US), start_us=MAX_TIME_US + 1), "schedule.start_time", "never fires"),
        (Schedule(At(NOON_US), start_us=5, end_us=5), "schedule.end_time", "after the start"),
        (Schedule(At(NOON_US), start_us=6, end_us=5), "schedule.end_time", "after the start"),
        (Schedule(Cron("0 12 * * *"), NOON_US + 1, NOON_US + 2), "schedule.end_time", "never fires"),
        (Schedule(Cron("0 0 30 2 *")), "schedule.cron.expression", "no such day"),
        (Schedule(Cron("0 0 31 2,4,6,9,11 *")), "schedule.cron.expression", "no such day"),
        (Schedule(Cron("0 0 30 2 *"), 5, 9), "schedule.cron.expression", "no such day"),
        (Schedule(Cron("@reboot")), "schedule.cron.expression", "boot"),
        (Schedule(Cron("0 12 * * *", "Europe/Atlantis")), "schedule.cron.time_zone",
         "unknown time zone 'Europe/Atlantis'"),
        (Schedule(Cron("0 12 * * *", "")), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "Europe")), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "localtime")), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "right/Europe/Berlin")), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "../../../etc/localtime")), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "/etc/localtime")), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "Europe/Berlin\0")), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "x" * 5000)), "schedule.cron.time_zone", "unknown"),
        (Schedule(Cron("0 12 * * *", "\ud800")), "schedule.cron.time_zone", "unknown"),
    ],
)  # fmt: skip
def test_a_bad_schedule_is_refused_with_its_field(schedule: Schedule, field: str, message: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        validate(schedule)
    assert refused.value.field == field
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(At(1)),
        Schedule(Interval(SECOND_US, 0)),
        Schedule(Interval(SECOND_US, NOON_US), end_us=NOON_US + 1),
        Schedule(Cron("0 0 29 2 */7", "Pacific/Apia")),
        Schedule(Cron("0 0 31 12 *"), start_us=NOON_US),
    ],
)
def test_a_rare_but_possible_schedule_is_accepted(schedule: Schedule) -> None:
    validate(schedule)


def test_next_fire_names_the_field_when_this_node_does_not_know_the_zone() -> None:
    with pytest.raises(ScheduleError) as refused:
        next_fire(Schedule(Cron("* * * * *", "Mars/Olympus_Mons")), NOON_US)
    assert refused.value.field == "schedule.cron.time_zone"
