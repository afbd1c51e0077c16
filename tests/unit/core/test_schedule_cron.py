"""What cron expressions mean: fields, days, and days with a clock change."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from raftsched.core.state.model import SECOND_US, Cron, Schedule
from raftsched.core.times import zone
from raftsched.core.times.cron import ALIASES, MAX_EXPRESSION_CHARS, CronError, parse
from raftsched.core.times.schedule import next_fire


def walk(expression: str, zone_name: str, after: str, until: str) -> list[str]:
    """The nominal times after one local time and up to another, as local times with their offset."""
    tz = ZoneInfo(zone_name)
    schedule = Schedule(Cron(expression, zone_name))
    at_us, until_us = (
        round(datetime.fromisoformat(text).replace(tzinfo=tz).timestamp()) * SECOND_US for text in (after, until)
    )
    found = []
    while (at_us := next_fire(schedule, at_us)) and at_us <= until_us:
        found.append(datetime.fromtimestamp(at_us // SECOND_US, tz).strftime("%m-%d %H:%M:%S %z").replace(":00 ", " "))
    return found


NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("expression", "zone", "after", "until", "wanted"),
    [
        # The clock goes from 02:00 to 03:00.
        ("30 2 * * *", NEW_YORK, "2026-03-07 03:00", "2026-03-09 12:00", ["03-08 03:00 -0400", "03-09 02:30 -0400"]),
        ("0 2 * * *", NEW_YORK, "2026-03-08 00:00", "2026-03-08 12:00", ["03-08 03:00 -0400"]),
        ("0,30 2,3 * * *", NEW_YORK, "2026-03-08 00:00", "2026-03-08 12:00",
         ["03-08 03:00 -0400", "03-08 03:30 -0400"]),
        ("15 2-4 * * *", NEW_YORK, "2026-03-08 00:00", "2026-03-08 12:00",
         ["03-08 03:00 -0400", "03-08 03:15 -0400", "03-08 04:15 -0400"]),
        ("*/20 * * * *", NEW_YORK, "2026-03-08 01:30", "2026-03-08 03:20",
         ["03-08 01:40 -0500", "03-08 03:00 -0400", "03-08 03:20 -0400"]),
        ("30 * * * *", NEW_YORK, "2026-03-08 01:00", "2026-03-08 04:00", ["03-08 01:30 -0500", "03-08 03:30 -0400"]),
        ("*/30 2 * * *", NEW_YORK, "2026-03-08 00:00", "2026-03-09 02:00", ["03-09 02:00 -0400"]),
        ("30 */2 * * *", NEW_YORK, "2026-03-08 00:00", "2026-03-08 05:00", ["03-08 00:30 -0500", "03-08 04:30 -0400"]),
        ("*/20 30 2 * * *", NEW_YORK, "2026-03-08 00:00", "2026-03-09 00:00", ["03-08 03:00 -0400"]),
        ("30 2 8 3 *", NEW_YORK, "2026-01-01 00:00", "2026-12-31 00:00", ["03-08 03:00 -0400"]),
        # The clock goes from 02:00 back to 01:00.
        ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", "2026-11-02 12:00", ["11-01 01:30 -0400", "11-02 01:30 -0500"]),
        ("0 1 * * *", NEW_YORK, "2026-11-01 00:00", "2026-11-01 12:00", ["11-01 01:00 -0400"]),
        ("0 2 * * *", NEW_YORK, "2026-11-01 00:00", "2026-11-01 12:00", ["11-01 02:00 -0500"]),
        ("0,30 1,2 * * *", NEW_YORK, "2026-11-01 00:00", "2026-11-01 12:00",
         ["11-01 01:00 -0400", "11-01 01:30 -0400", "11-01 02:00 -0500", "11-01 02:30 -0500"]),
        ("30 * * * *", NEW_YORK, "2026-11-01 00:40", "2026-11-01 02:40",
         ["11-01 01:30 -0400", "11-01 01:30 -0500", "11-01 02:30 -0500"]),
        ("@hourly", NEW_YORK, "2026-11-01 00:40", "2026-11-01 02:40",
         ["11-01 01:00 -0400", "11-01 01:00 -0500", "11-01 02:00 -0500"]),
        ("*/30 1 * * *", NEW_YORK, "2026-11-01 00:00", "2026-11-01 12:00",
         ["11-01 01:00 -0400", "11-01 01:30 -0400", "11-01 01:00 -0500", "11-01 01:30 -0500"]),
        ("*/30 1 1 11 *", NEW_YORK, "2026-11-01 01:30", "2027-10-31 12:00", ["11-01 01:00 -0500", "11-01 01:30 -0500"]),
        ("0 0-23 * * *", NEW_YORK, "2026-11-01 00:40", "2026-11-01 02:40", ["11-01 01:00 -0400", "11-01 02:00 -0500"]),
        # Half an hour: from 02:00 to 02:30, and from 02:00 back to 01:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04 00:00", "2026-10-04 12:00", ["10-04 02:30 +1100"]),
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-10-04 01:40", "2026-10-04 02:45",
         ["10-04 01:45 +1030", "10-04 02:30 +1100", "10-04 02:45 +1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05 00:00", "2026-04-05 12:00", ["04-05 01:45 +1100"]),
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-05 01:00", "2026-04-05 03:00",
         ["04-05 01:45 +1100", "04-05 01:45 +1030", "04-05 02:45 +1030"]),
        # At midnight: from 00:00 to 01:00, and from 00:00 back to 23:00 of the day before.
        ("0 0 * * *", "Africa/Cairo", "2026-04-23 12:00", "2026-04-25 12:00",
         ["04-24 01:00 +0300", "04-25 00:00 +0300"]),
        ("30 23 * * *", "Africa/Cairo", "2026-10-29 00:00", "2026-10-31 12:00",
         ["10-29 23:30 +0300", "10-30 23:30 +0200"]),
        ("30 23 29 10 *", "Africa/Cairo", "2026-01-01 00:00", "2026-12-31 00:00", ["10-29 23:30 +0300"]),
        # For good: North Korea half an hour back in 2015 and forward in 2018; Turkey stayed at +03.
        ("45 23 * * *", "Asia/Pyongyang", "2015-08-14 00:00", "2015-08-15 23:59",
         ["08-14 23:45 +0900", "08-15 23:45 +0830"]),
        ("40 23 * * *", "Asia/Pyongyang", "2018-05-04 00:00", "2018-05-05 23:59",
         ["05-05 00:00 +0900", "05-05 23:40 +0900"]),
        ("0 3 30 10 *", "Europe/Istanbul", "2016-01-01 00:00", "2017-12-31 00:00",
         ["10-30 03:00 +0300", "10-30 03:00 +0300"]),
        # A whole day left out is a correction, not a missing hour: nothing is made up.
        ("0 10 * * *", "Pacific/Apia", "2011-12-29 00:00", "2011-12-31 23:00",
         ["12-29 10:00 -1000", "12-31 10:00 +1400"]),
        ("0 */12 * * *", "Pacific/Apia", "2011-12-29 01:00", "2011-12-31 23:00",
         ["12-29 12:00 -1000", "12-31 00:00 +1400", "12-31 12:00 +1400"]),
        ("0 0 30 12 *", "Pacific/Apia", "2011-12-01 00:00", "2012-12-31 00:00", ["12-30 00:00 +1400"]),
        # Exactly three hours still count as a clock change, more do not.
        ("30 0 * * *", "America/Danmarkshavn", "1995-12-31 12:00", "1996-01-01 12:00", ["01-01 03:00 +0000"]),
        ("0 20 * * *", "Antarctica/Vostok", "1994-01-31 12:00", "1994-02-01 12:00",
         ["01-31 20:00 +0700", "01-31 20:00 +0000"]),
    ],
)  # fmt: skip
def test_days_with_a_clock_change(expression: str, zone: str, after: str, until: str, wanted: list[str]) -> None:
    assert walk(expression, zone, after, until) == wanted


@pytest.fixture
def blocks_of_half_an_hour(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(zone, "_BLOCK_BITS", 11)
    zone._stretches.cache_clear()
    yield
    zone._stretches.cache_clear()


@pytest.mark.usefixtures("blocks_of_half_an_hour")
def test_a_clock_change_is_seen_from_the_next_block_of_stretches() -> None:
    # Expressions that no other test uses: what was computed with other blocks is remembered.
    wanted = ["11-01 01:31 -0400", "11-01 01:58 -0400", "11-02 01:31 -0500"]
    assert walk("31,58 1 * * *", NEW_YORK, "2026-11-01 00:00", "2026-11-02 01:40") == wanted
    assert walk("31 2 * * *", NEW_YORK, "2026-03-08 00:00", "2026-03-08 12:00") == ["03-08 03:00 -0400"]
    assert walk("31 1 1 11 *", NEW_YORK, "2026-10-30 00:00", "2026-12-01 00:00") == ["11-01 01:31 -0400"]


@pytest.mark.parametrize(
    ("expression", "after", "until", "wanted"),
    [
        ("0 0 29 2 *", "2095-01-01", "2109-01-01", ["2096-02-29", "2104-02-29", "2108-02-29"]),
        ("0 0 29 2 */7", "2026-01-01", "2130-01-01", ["2032-02-29", "2060-02-29", "2088-02-29", "2128-02-29"]),
        ("0 0 31 * *", "2026-01-01", "2026-06-30", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("0 0 L * *", "2027-12-31", "2028-04-01", ["2028-01-31", "2028-02-29", "2028-03-31"]),
        ("0 0 15,L * *", "2027-02-01", "2027-03-01", ["2027-02-15", "2027-02-28"]),
        ("0 0 28-L 2 *", "2028-01-01", "2028-12-31", ["2028-02-28", "2028-02-29"]),
        ("0 0 31 12 *", "2025-06-01", "2027-06-01", ["2025-12-31", "2026-12-31"]),
        ("0 0 1 1 *", "2025-06-01", "2027-06-01", ["2026-01-01", "2027-01-01"]),
        ("@weekly", "2026-12-26", "2027-01-04", ["2026-12-27", "2027-01-03"]),
        # Both day fields restricted: either. 2026-02-13 is a Friday.
        ("0 0 13 * 5", "2026-02-06", "2026-03-07", ["2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06"]),
        ("0 0 1-31 * 5", "2026-02-06", "2026-02-09", ["2026-02-07", "2026-02-08", "2026-02-09"]),
        # One of them begins with a star: both.
        ("0 0 */2 * 5", "2026-02-06", "2026-03-01", ["2026-02-13", "2026-02-27"]),
        ("0 0 13 * */5", "2026-01-01", "2026-12-31",
         ["2026-02-13", "2026-03-13", "2026-09-13", "2026-11-13", "2026-12-13"]),
        ("0 0 ? * 5", "2026-02-06", "2026-02-20", ["2026-02-13", "2026-02-20"]),
        # Nth and last weekdays.
        ("0 0 * * 5#2", "2026-01-01", "2026-03-31", ["2026-01-09", "2026-02-13", "2026-03-13"]),
        ("0 0 * * fri#5", "2026-01-01", "2026-08-30", ["2026-01-30", "2026-05-29", "2026-07-31"]),
        ("0 0 * * L5", "2026-01-01", "2026-03-31", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * 2 L7,1#1", "2026-01-01", "2026-12-31", ["2026-02-02", "2026-02-22"]),
        ("0 0 1 * mon#1", "2026-01-31", "2026-03-31", ["2026-02-01", "2026-02-02", "2026-03-01", "2026-03-02"]),
        # Ranges: of one value, wrapping, up to Sunday as 7.
        ("0 0 5-5 * *", "2026-01-01", "2026-02-28", ["2026-01-05", "2026-02-05"]),
        ("0 0 * * mon-mon", "2026-02-01", "2026-02-10", ["2026-02-02", "2026-02-09"]),
        ("0 0 * * 7-7", "2026-02-02", "2026-02-15", ["2026-02-08", "2026-02-15"]),
        ("0 0 * * 7-0", "2026-02-02", "2026-02-15", ["2026-02-08", "2026-02-15"]),
        ("0 0 * * fri-sun", "2026-02-05", "2026-02-12", ["2026-02-06", "2026-02-07", "2026-02-08"]),
        ("0 0 * * 5-7/2", "2026-02-05", "2026-02-12", ["2026-02-06", "2026-02-08"]),
        ("0 0 * * 1-7/3", "2026-02-01", "2026-02-08", ["2026-02-02", "2026-02-05", "2026-02-08"]),
        ("0 0 1 nov-feb *", "2026-01-02", "2027-01-31", ["2026-02-01", "2026-11-01", "2026-12-01", "2027-01-01"]),
        ("0 0 5-5/2 * *", "2026-01-01", "2026-02-28", ["2026-01-05", "2026-02-05"]),
    ],
)  # fmt: skip
def test_days(expression: str, after: str, until: str, wanted: list[str]) -> None:
    schedule = Schedule(Cron(expression))
    found = []
    at_us, until_us = (
        round(datetime.fromisoformat(day + "T00:00:00+00:00").timestamp()) * SECOND_US for day in (after, until)
    )
    while (at_us := next_fire(schedule, at_us)) and at_us <= until_us:
        found.append(datetime.fromtimestamp(at_us // SECOND_US, ZoneInfo("UTC")).strftime("%Y-%m-%d"))
    assert found == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("*/20 * * * *", ["00:20", "00:40", "01:00"]),
        ("10/20 0 * * *", ["00:10", "00:30", "00:50"]),
        ("59/15 0-2 * * *", ["00:59", "01:59", "02:59"]),
        ("0-10/5 6 * * *", ["06:00", "06:05", "06:10"]),
        ("5,3 1,0 * * *", ["00:03", "00:05", "01:03"]),
        ("*,5 3 * * *", ["03:00", "03:01", "03:02"]),
        ("0 22-1 * * *", ["01:00", "22:00", "23:00"]),
        ("30 0 0 * * *", ["00:00:30"]),
        ("*/30 1 0 * * *", ["00:01", "00:01:30"]),
        ("59 59 23 * * *", ["23:59:59"]),
        ("  0\t12   * * *  ", ["12:00"]),
        ("0 012 * JAN-dec Sun-SAT", ["12:00"]),
    ],
)
def test_times_of_day(expression: str, wanted: list[str]) -> None:
    found = [time.split()[1] for time in walk(expression, "UTC", "2026-01-02 00:00", "2026-01-02 23:59:59")]
    assert found[: len(wanted)] == wanted


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_mean_their_five_fields(alias: str) -> None:
    assert parse(alias) == parse(alias.upper()) == parse(ALIASES[alias])


@pytest.mark.parametrize(
    ("expression", "wildcard"),
    [
        ("* * * * *", True), ("*/5 3 * * *", True), ("5 */3 * * *", True), ("@hourly", True), ("0 * * * *", True),
        ("0 3 * * *", False), ("0-59 0-23 * * *", False), ("@daily", False), ("* 0 3 * * *", False),
        ("* * 3 * * *", True),
    ],
)  # fmt: skip
def test_a_star_in_minute_or_hour_makes_a_wildcard_job(expression: str, wildcard: bool) -> None:
    assert parse(expression).wildcard is wildcard


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("60 * * * *", "minute field '60' is not valid; allowed are 0 to 59"),
        ("* 24 * * *", "hour field '24'"),
        ("* * 0 * *", "day of month field '0'"),
        ("* * 32 * *", "day of month field '32'"),
        ("* * * 13 *", "month field '13'"),
        ("* * * foo *", "month field 'foo' is not valid; allowed are 1 to 12 or jan to dec"),
        ("* * * mon *", "month field 'mon'"),
        ("* * * * 8", "day of week field '8'"),
        ("* * * * mo", "day of week field 'mo'"),
        ("60 * * * * *", "second field '60'"),
        ("*/0 * * * *", "minute field '*/0'"),
        ("-5 * * * *", "minute field '-5'"),
        ("1,,2 * * * *", "minute field '1,,2'"),
        ("1- * * * *", "minute field '1-'"),
        ("? * * * *", "minute field '?'"),
        ("5? * * * *", "minute field '5?'"),
        ("* * 0W * *", "day of month field '0w'"),
        ("* * 32W * *", "day of month field '32w'"),
        ("* * 1-5W * *", "day of month field '1-5w'"),
        ("* * 15W,x * *", "day of month field 'x'"),
        ("* * W * *", "day of month field 'w'"),
        ("* * * * 5W", "day of week field '5w'"),
        ("H * * * *", "minute field 'h'"),
        ("R(0-30) * * * *", "minute field 'r(0-30)'"),
        ("* * L-3 * *", "day of month field 'l-3'"),
        ("* * * * L", "day of week field 'l'"),
        ("* * * * 5L", "day of week field '5l'"),
        ("* * * * 5#6", "day of week field '5#6'"),
        ("* * * * 5#0", "day of week field '5#0'"),
        ("0 0 * * 1,2#1", "cannot be mixed"),
        ("0 0 * * *,2#1", "cannot be mixed"),
        ("0 22-3/2 * * *", "hour field '22-3/2': a range that wraps around cannot have a step"),
        ("CRON_TZ=UTC 0 5 * * *", "second field 'cron_tz=utc'"),
        ("@reboot", "boots"),
        ("@every 5m", "interval schedule"),
        ("@fortnightly", "unknown alias '@fortnightly'; known are @yearly"),
        ("\u0663 * * * *", "minute field '\u0663'"),
        ("0," * MAX_EXPRESSION_CHARS + "0 * * * *", "characters; at most"),
    ],
)  # fmt: skip
def test_a_bad_expression_is_refused_with_the_name_of_its_field(expression: str, message: str) -> None:
    with pytest.raises(CronError) as refused:
        parse(expression)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("expression", "after", "wanted"),
    [
        ("0 0 30 12 *", "9999-12-29T00:00:00+00:00", "9999-12-30T00:00:00+00:00"),
        ("0 0 1 11 *", "9998-12-15T00:00:00+00:00", "9999-11-01T00:00:00+00:00"),
    ],
)
def test_the_last_year_and_its_last_day_but_one_are_searched(expression: str, after: str, wanted: str) -> None:
    seconds = [round(datetime.fromisoformat(text).timestamp()) for text in (after, wanted)]
    assert parse(expression).next_local(seconds[0]) == seconds[1]
