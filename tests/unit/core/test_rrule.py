"""Recurrence rules: the examples of RFC 5545, what is refused, and how much work the worst of them make."""

from datetime import datetime, timedelta

import pytest

from raftsched.core.state.model import SECOND_US, FoldPolicy, GapPolicy, Rrule, Schedule
from raftsched.core.times import recurrence, rrule
from raftsched.core.times.schedule import ScheduleError, next_fire, validate

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times
# DTSTART of the examples of RFC 5545, section 3.8.5.3.
START = "DTSTART:19970902T090000\n"


def walk(lines: str, count: int, zone: str = "UTC") -> list[str]:
    found = recurrence.parse(lines, zone)
    times: list[str] = []
    at_s = 0
    while len(times) < count and (at_s := found.next_local(at_s)) < rrule.NEVER_S:
        times.append(f"{EPOCH + timedelta(seconds=at_s):%Y-%m-%d %H:%M:%S}".removesuffix(":00"))
        at_s += 1
    return times


def days(lines: str, count: int) -> list[str]:
    return [each.removesuffix(" 09:00") for each in walk(lines, count)]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("FREQ=DAILY;COUNT=2", ["1997-09-02", "1997-09-03"]),
        ("FREQ=DAILY;INTERVAL=10;COUNT=5", ["1997-09-02", "1997-09-12", "1997-09-22", "1997-10-02", "1997-10-12"]),
        ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", ["1997-09-02", "1997-09-16", "1997-09-30"]),
        ("FREQ=WEEKLY;COUNT=4;WKST=SU;BYDAY=TU,TH", ["1997-09-02", "1997-09-04", "1997-09-09", "1997-09-11"]),
        ("FREQ=MONTHLY;COUNT=2;BYDAY=1FR", ["1997-09-05", "1997-10-03"]),
        ("FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU,-1SU", ["1997-09-07", "1997-09-28", "1997-11-02", "1997-11-30"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-3", ["1997-09-28", "1997-10-29", "1997-11-28"]),
        ("FREQ=MONTHLY;INTERVAL=18;BYMONTHDAY=10,15", ["1997-09-10", "1997-09-15", "1999-03-10"]),
        ("FREQ=YEARLY;COUNT=3;BYMONTH=6,7", ["1998-06-02", "1998-07-02", "1999-06-02"]),
        ("FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,200", ["2000-01-01", "2000-04-09", "2000-07-18", "2003-01-01"]),
        ("FREQ=YEARLY;BYDAY=20MO", ["1998-05-18", "1999-05-17", "2000-05-15"]),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", ["1998-05-11", "1999-05-17", "2000-05-15"]),
        ("FREQ=YEARLY;BYWEEKNO=20", ["1998-05-12", "1999-05-18", "2000-05-16"]),
        ("FREQ=YEARLY;BYWEEKNO=1,-1", ["1997-12-23", "1997-12-30", "1998-12-29", "1999-01-05", "1999-12-28"]),
        ("FREQ=YEARLY;BYWEEKNO=22;BYMONTH=6", ["1999-06-01", "2010-06-01"]),
        ("FREQ=YEARLY;BYWEEKNO=20;BYMONTHDAY=15", ["1998-05-15", "2000-05-15", "2001-05-15"]),
        ("FREQ=YEARLY;BYWEEKNO=20;BYYEARDAY=135", ["1998-05-15", "2001-05-15", "2002-05-15"]),
        ("FREQ=YEARLY", ["1997-09-02", "1998-09-02"]),
        ("FREQ=YEARLY;BYMONTH=1", ["1998-01-02", "1999-01-02"]),
        ("FREQ=YEARLY;BYHOUR=9", ["1997-09-02", "1998-09-02"]),
        ("FREQ=YEARLY;BYMONTHDAY=15", ["1997-09-15", "1997-10-15", "1997-11-15"]),
        ("FREQ=MONTHLY", ["1997-09-02", "1997-10-02"]),
        ("FREQ=MONTHLY;BYMONTH=1,3", ["1998-01-02", "1998-03-02", "1999-01-02"]),
        ("FREQ=WEEKLY;BYMONTH=1", ["1998-01-06", "1998-01-13"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", ["1998-02-13", "1998-03-13", "1998-11-13"]),
        ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", ["1997-11-04", "2001-11-06"]),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", ["1997-09-04", "1997-10-07", "1997-11-06"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", ["1997-09-29", "1997-10-30", "1997-11-27"]),
        ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=3", ["1997-09-15", "1997-09-30", "1997-10-15"]),
        ("FREQ=WEEKLY;UNTIL=19970923T090000;BYDAY=TU", ["1997-09-02", "1997-09-09", "1997-09-16", "1997-09-23"]),
        ("FREQ=WEEKLY;UNTIL=19970916;BYDAY=TU", ["1997-09-02", "1997-09-09", "1997-09-16"]),
    ],
)
def test_days_of_the_examples_of_the_rfc(rule: str, wanted: list[str]) -> None:
    assert days(START + "RRULE:" + rule, len(wanted)) == wanted


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000", ["1997-09-02 09:00", "1997-09-02 12:00", "1997-09-02 15:00"]),
        ("FREQ=MINUTELY;INTERVAL=90", ["1997-09-02 09:00", "1997-09-02 10:30", "1997-09-02 12:00"]),
        ("FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,40", ["1997-09-02 09:00", "1997-09-02 09:40", "1997-09-02 10:00"]),
        ("FREQ=HOURLY;INTERVAL=7", ["1997-09-02 09:00", "1997-09-02 16:00", "1997-09-02 23:00", "1997-09-03 06:00"]),
        ("FREQ=SECONDLY;INTERVAL=45;BYMINUTE=0", ["1997-09-02 09:00", "1997-09-02 09:00:45", "1997-09-02 10:00"]),
        ("FREQ=DAILY;BYHOUR=8,9,10;BYSETPOS=-1,1", ["1997-09-02 10:00", "1997-09-03 08:00", "1997-09-03 10:00"]),
    ],
)
def test_times_of_rules_that_count_parts_of_a_day(rule: str, wanted: list[str]) -> None:
    assert walk(START + rule, len(wanted)) == wanted


@pytest.mark.parametrize(
    ("start", "rule", "wanted"),
    [
        ("19970512", "FREQ=YEARLY;BYWEEKNO=20", ["1997-05-12", "1998-05-11", "1999-05-17", "2000-05-15"]),
        ("19970518", "FREQ=YEARLY;BYWEEKNO=20;WKST=SU", ["1998-05-17", "1999-05-16", "2000-05-14"]),
        ("20000229", "FREQ=YEARLY", ["2000-02-29", "2004-02-29"]),
        ("20000131", "FREQ=MONTHLY", ["2000-01-31", "2000-03-31", "2000-05-31"]),
        ("20000131", "FREQ=MONTHLY;RSCALE=GREGORIAN", ["2000-01-31", "2000-03-31"]),
        ("20000131", "RSCALE=gregorian;FREQ=MONTHLY;SKIP=OMIT", ["2000-01-31", "2000-03-31"]),
        ("20000131", "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=BACKWARD", ["2000-01-31", "2000-02-29", "2000-03-31"]),
        ("20000131", "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD", ["2000-01-31", "2000-03-01", "2000-03-31"]),
        ("20160229", "RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=BACKWARD", ["2016-02-29", "2017-02-28", "2018-02-28"]),
        ("20160229", "RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=FORWARD", ["2016-02-29", "2017-03-01", "2018-03-01"]),
        ("20000131", "RSCALE=GREGORIAN;FREQ=WEEKLY;SKIP=FORWARD", ["2000-01-31", "2000-02-07"]),
        ("20000101", "freq=weekly; byday=mo, we ;", ["2000-01-03", "2000-01-05"]),
    ],
)  # fmt: skip
def test_what_a_rule_leaves_out_comes_from_its_start(start: str, rule: str, wanted: list[str]) -> None:
    assert days(f"DTSTART:{start}T090000\nRRULE:{rule}", len(wanted)) == wanted


def test_a_rule_may_have_begun_before_1970() -> None:
    new_year = "DTSTART;VALUE=DATE:19190101\nRRULE:FREQ=YEARLY"
    assert validate(Schedule(Rrule(new_year, "Europe/Berlin"))) is None
    fortnight = "DTSTART:19691229T090000\nRRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=3"
    assert walk(fortnight, 9) == ["1970-01-12 09:00", "1970-01-26 09:00"]
    assert walk("DTSTART:16010101T090000\nRRULE:FREQ=DAILY", 1)[0] == "1970-01-01 09:00"
    in_utc = "DTSTART:19550701T130000Z\nRRULE:FREQ=YEARLY"
    assert walk(in_utc, 1, "America/New_York") == ["1970-07-01 09:00"]


def test_the_start_is_the_first_of_single_dates() -> None:
    lines = "DTSTART:20300101T090000\nRDATE:20300301T090000"
    assert walk(lines, 9) == ["2030-01-01 09:00", "2030-03-01 09:00"]
    assert walk(lines + "\nEXDATE:20300101T090000", 9) == ["2030-03-01 09:00"]


def test_the_second_of_a_leap_is_the_one_before() -> None:
    assert walk("RDATE:20300101T235960", 9) == ["2030-01-01 23:59:59"]


def test_the_start_of_the_week_decides_which_weeks_are_counted() -> None:
    rule = "DTSTART:19970805T090000\nFREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST="
    assert days(rule + "MO", 9) == ["1997-08-05", "1997-08-10", "1997-08-19", "1997-08-24"]
    assert days(rule + "SU", 9) == ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]


def test_dates_are_added_and_left_out() -> None:
    lines = START + "RRULE:FREQ=DAILY;COUNT=4\nRDATE:19970910T120000,19970903T090000\nEXDATE:19970904T090000"
    assert walk(lines, 9) == ["1997-09-02 09:00", "1997-09-03 09:00", "1997-09-05 09:00", "1997-09-10 12:00"]
    hourly = START + "FREQ=HOURLY;INTERVAL=12\nEXDATE;VALUE=DATE:19970903,19970904"
    assert walk(hourly, 3) == ["1997-09-02 09:00", "1997-09-02 21:00", "1997-09-05 09:00"]
    assert walk("RDATE:20300101T000000,20290101T000000", 9) == ["2029-01-01 00:00", "2030-01-01 00:00"]


def test_times_in_utc_are_read_in_the_zone_of_the_schedule() -> None:
    lines = "DTSTART:20260601T130000Z\nFREQ=DAILY;UNTIL=20260603T130000Z\nEXDATE:20260602T130000Z"
    assert walk(lines, 9, "America/New_York") == ["2026-06-01 09:00", "2026-06-03 09:00"]


def test_lines_may_be_folded_and_name_their_zone() -> None:
    lines = "DTSTART;TZID=Europe/Berlin:20260601T090000\r\nRRULE:FREQ=DAILY;\r\n COUNT=2\r\n"
    assert recurrence.zone_of(lines) == "Europe/Berlin"
    assert walk(lines, 9, "Europe/Berlin") == ["2026-06-01 09:00", "2026-06-02 09:00"]


def test_the_default_start_is_the_beginning_of_the_day_in_the_zone() -> None:
    registered_us = 1_777_932_000 * SECOND_US  # 2026-05-04T22:00:00Z
    assert recurrence.with_start("FREQ=DAILY", "Asia/Tokyo", registered_us) == "DTSTART:20260505T000000\nFREQ=DAILY"
    given = "DTSTART:20260101T000000\nFREQ=DAILY"
    assert recurrence.with_start(given, "UTC", registered_us) == given


def fires(rule: str, after: str, *policies: GapPolicy | FoldPolicy | None) -> list[str]:
    schedule = Schedule(Rrule("DTSTART:20260101T000000\n" + rule, "America/New_York", *policies))
    at_us = round(datetime.fromisoformat(after).timestamp()) * SECOND_US
    times = []
    for _ in range(2):
        at_us = next_fire(schedule, at_us)
        times.append(datetime.fromtimestamp(at_us / SECOND_US, tz=datetime.fromisoformat(after).tzinfo).isoformat())
    return times


def test_clock_changes_go_by_the_rules_of_cron() -> None:
    spring, autumn = "2026-03-08T00:00:00-05:00", "2026-11-01T00:30:00-04:00"
    assert fires("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", spring)[0] == "2026-03-08T02:00:00-05:00"
    assert fires("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", spring, GapPolicy.SKIP)[0] == "2026-03-09T01:30:00-05:00"
    assert fires("FREQ=DAILY;BYHOUR=1", autumn) == ["2026-11-01T01:00:00-04:00", "2026-11-02T02:00:00-04:00"]
    assert fires("FREQ=DAILY;BYHOUR=1", autumn, None, FoldPolicy.LAST)[0] == "2026-11-01T02:00:00-04:00"
    assert fires("FREQ=HOURLY", autumn) == ["2026-11-01T01:00:00-04:00", "2026-11-01T02:00:00-04:00"]
    assert fires("FREQ=HOURLY", autumn, None, FoldPolicy.FIRST) == [
        "2026-11-01T01:00:00-04:00",
        "2026-11-01T03:00:00-04:00",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "is required"),
        ("FREQ=FORTNIGHTLY", "FREQ is required: one of YEARLY"),
        ("INTERVAL=2", "FREQ is required"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ comes twice"),
        ("FREQ=DAILY;BYEASTER=1", "'BYEASTER=1' is no part of a rule"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20300101", "COUNT or UNTIL, not both"),
        ("FREQ=DAILY;COUNT=0", "COUNT=0: allowed are 1 to 10000"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0: allowed are 1 to"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL=-1"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR=24: allowed are 0 to 23"),
        ("FREQ=DAILY;BYHOUR=-1", "BYHOUR=-1: allowed are 0 to 23"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY=0: allowed are 1 to 31 and -31 to -1"),
        ("FREQ=MONTHLY;BYMONTHDAY=", "BYMONTHDAY="),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY=XX: allowed are MO"),
        ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY with a number cannot be used with FREQ=WEEKLY"),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "cannot be used with BYWEEKNO"),
        ("FREQ=MONTHLY;BYWEEKNO=1", "BYWEEKNO cannot be used with FREQ=MONTHLY"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY cannot be used with FREQ=WEEKLY"),
        ("FREQ=HOURLY;BYMINUTE=1;BYSETPOS=1", "BYSETPOS cannot be used with FREQ=HOURLY"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS needs another BY part"),
        ("FREQ=DAILY;WKST=8", "WKST=8"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL: 'TOMORROW' is no time"),
        ("FREQ=DAILY;UNTIL=20300230", "there is no such day"),
        ("RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY", "more than one RRULE"),
        ("EXRULE:FREQ=DAILY", "is none of the lines"),
        ("RDATE;VALUE=PERIOD:20300101T000000/PT1H", "RDATE cannot have 'VALUE=PERIOD'"),
        ("EXDATE:20300101", "neither an RRULE nor an RDATE"),
        ("DTSTART;TZID=Mars/Olympus:20300101T000000\nFREQ=DAILY", "unknown time zone 'Mars/Olympus'"),
        ("DTSTART;TZID=Asia/Tokyo:20300101T000000\nFREQ=DAILY", "DTSTART is in Asia/Tokyo, but the time zone is UTC"),
        ("DTSTART:16001231T000000\nFREQ=DAILY", "must lie between 1601 and 9999"),
        ("RSCALE=CHINESE;FREQ=YEARLY", "RSCALE=CHINESE: the only calendar that is known is GREGORIAN"),
        ("FREQ=MONTHLY;SKIP=FORWARD", "SKIP needs RSCALE=GREGORIAN"),
        ("RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=UP", "SKIP=UP: allowed are OMIT, BACKWARD, FORWARD"),
        ("RSCALE=GREGORIAN;FREQ=MONTHLY;INTERVAL=2;SKIP=FORWARD", "SKIP=FORWARD cannot be used with INTERVAL"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "never fires"),
        ("FREQ=DAILY;UNTIL=20200101", "never fires"),
        ("FREQ=SECONDLY;INTERVAL=60;BYSECOND=1", "never fires"),
        ("FREQ=DAILY;BYSETPOS=1;BYHOUR=" + ",".join(map(str, range(24))) + ";BYMINUTE=" + ",".join(map(str, range(60)))
         + ";BYSECOND=0,1", "BYSETPOS goes with at most"),
        ("DTSTART:20260102T000000\nFREQ=DAILY", "more than one DTSTART"),
        ("X" * 5000, "at most 4096 are allowed"),
    ],
)  # fmt: skip
def test_what_is_not_valid_is_refused_with_a_reason(lines: str, message: str) -> None:
    has_start = "DTSTART" in lines and "more than one DTSTART" not in message
    text = lines if has_start or not lines or "X" in lines[:1] else "DTSTART:20260101T000000\n" + lines
    with pytest.raises(ScheduleError) as refused:
        validate(Schedule(Rrule(text, "UTC")))
    assert message in str(refused.value)
    assert refused.value.field == "schedule.rrule.lines"


def test_a_set_before_the_start_counts_for_nothing() -> None:
    lines = "DTSTART:20260115T090000\nFREQ=MONTHLY;BYDAY=MO;BYSETPOS=1;COUNT=2"
    assert walk(lines, 9) == ["2026-02-02 09:00", "2026-03-02 09:00"]


def test_the_last_year_that_is_searched_is_9998() -> None:
    lines = "DTSTART:99970101T090000\nFREQ=YEARLY;BYMONTH=11;BYMONTHDAY=5"
    assert walk(lines, 9) == [f"{year}-11-05 09:00" for year in (9997, 9998)]


def test_a_count_that_no_year_reaches_ends_nothing() -> None:
    lines = "DTSTART:20260101T090000\nFREQ=YEARLY;INTERVAL=1000;COUNT=100"
    assert walk(lines, 99) == [f"{year}-01-01 09:00" for year in range(2026, 9999, 1000)]


def test_a_week_that_is_counted_goes_on_into_the_next_year_however_long_the_interval() -> None:
    lines = "DTSTART:20261228T090000\nFREQ=WEEKLY;INTERVAL=60;BYDAY=MO,TU,WE,TH,FR,SA,SU"
    assert days(lines, 8) == [
        *("2026-12-28", "2026-12-29", "2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02", "2027-01-03"),
        "2028-02-21",
    ]


def test_what_is_left_out_is_one_second_and_the_next_is_not() -> None:
    lines = "DTSTART:20260101T000000\nFREQ=SECONDLY;COUNT=4\nEXDATE:20260101T000001"
    assert walk(lines, 9) == ["2026-01-01 00:00", "2026-01-01 00:00:02", "2026-01-01 00:00:03"]


def test_until_a_day_is_until_its_end() -> None:
    assert walk("DTSTART:20260101T220000\nFREQ=HOURLY;UNTIL=20260101", 9) == ["2026-01-01 22:00", "2026-01-01 23:00"]
    assert walk("DTSTART:20260101T235958\nFREQ=SECONDLY;UNTIL=20260101", 9) == [
        "2026-01-01 23:59:58",
        "2026-01-01 23:59:59",
    ]


@pytest.mark.parametrize(
    ("lines", "zone"),
    [
        ("DTSTART:20260105T090000Z\nFREQ=DAILY", "UTC"),
        ("DTSTART:20260105T090000\nFREQ=DAILY", ""),
        ("DTSTART:20260105T090000\nFREQ=DAILY\nEXDATE:20260106T090000Z", ""),
        ("DTSTART;TZID=Asia/Tokyo:20260105T090000\nFREQ=DAILY", "Asia/Tokyo"),
        ("DTSTART;TZID=Asia/Tokyo:20260105T090000\nFREQ=DAILY\nEXDATE;TZID=Asia/Tokyo:20260106T090000", "Asia/Tokyo"),
    ],
)
def test_the_zone_of_the_lines_is_the_one_that_they_name(lines: str, zone: str) -> None:
    assert recurrence.zone_of(lines) == zone


def test_lines_in_several_zones_have_none() -> None:
    lines = "DTSTART;TZID=Asia/Tokyo:20260105T090000\nFREQ=DAILY\nEXDATE;TZID=Europe/Berlin:20260106T090000"
    with pytest.raises(rrule.RruleError, match="names the time zones Asia/Tokyo and Europe/Berlin"):
        recurrence.zone_of(lines)


def test_a_count_without_a_start_is_refused() -> None:
    with pytest.raises(rrule.RruleError, match="COUNT counts from DTSTART"):
        recurrence.with_start("FREQ=DAILY;COUNT=3", "UTC", SECOND_US)


WORST = [
    "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=SECONDLY;INTERVAL=86399;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
    "FREQ=MINUTELY;INTERVAL=10080;BYDAY=SU",
    "FREQ=HOURLY;INTERVAL=99999;BYMONTH=2;BYMONTHDAY=29;BYHOUR=3",
    "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
    "FREQ=DAILY;BYHOUR=1,2;BYSETPOS=5",
    "FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO;BYSETPOS=7",
    "FREQ=WEEKLY;INTERVAL=99999;BYMONTH=2",
    "FREQ=DAILY;INTERVAL=99999;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=SECONDLY;COUNT=10000",
    "FREQ=YEARLY;BYSETPOS=1,-1;BYMINUTE=1,2,3;BYDAY=MO;COUNT=10000",
    "FREQ=SECONDLY;INTERVAL=7;BYMONTHDAY=31;BYHOUR=1;COUNT=10000",
    "FREQ=SECONDLY;INTERVAL=61;BYSECOND=30;BYMINUTE=0;BYHOUR=0;COUNT=10000",
    "FREQ=SECONDLY;INTERVAL=50000;BYSECOND=1",
]


@pytest.mark.parametrize("rule", WORST)
def test_the_worst_rules_look_at_a_bounded_number_of_days(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    times_on = rrule.Rule._times_on
    days_of = rrule.Rule._days_of

    def counted_times_on(self: rrule.Rule, day: int) -> int:
        nonlocal looked
        looked += 1
        return times_on(self, day)

    def counted_days_of(self: rrule.Rule, year: int, first_day: int) -> int:
        nonlocal looked
        looked += 1
        return days_of(self, year, first_day)

    monkeypatch.setattr(rrule.Rule, "_times_on", counted_times_on)
    monkeypatch.setattr(rrule.Rule, "_days_of", counted_days_of)
    try:
        found = recurrence.parse("DTSTART:20260105T000000\n" + rule, "UTC")
    except rrule.RruleError as error:
        assert "give UNTIL" in str(error)  # noqa: PT017 - some rules are read
    else:
        found.next_local(0)
        found.next_local(4_000_000_000)
    assert looked < 70_000
