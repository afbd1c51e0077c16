from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_client import Task

from raftsched.cli.times import now, parse_duration, parse_instant, show_instant, show_relative, show_seconds, zone_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), ("1.5s", 1.5), ("250ms", 0.25)],
)
def test_time_spans(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "s", "10 s", "-5s", "5x", "1h-5m", "0s", "1e3s", "1000000000d", "9" * 400 + "d"]
)
def test_what_is_no_time_span_is_refused(text):
    with pytest.raises(ValueError, match="time span"):
        parse_duration(text)


def test_instants_keep_their_offset():
    assert parse_instant("2026-01-31T09:00:00+01:00") == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert parse_instant("2026-01-31T09:00:00Z") == datetime(2026, 1, 31, 9, tzinfo=UTC)
    before = now()
    assert before + timedelta(seconds=30) <= parse_instant("+30s") <= now() + timedelta(seconds=30)
    assert parse_instant("-1h") <= now() - timedelta(hours=1)
    assert before <= parse_instant("now") <= now()


@pytest.mark.parametrize("text", ["tomorrow", "2026-01-31T09:00:00", "+soon", "2026-13-01T00:00:00Z"])
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(ValueError, match=r"not a time|no time zone"):
        parse_instant(text)


@pytest.mark.parametrize("text", ["+9000000d", "-9000000d", "+9999999999d"])
def test_an_instant_beyond_the_calendar_is_refused(text):
    with pytest.raises(ValueError, match=r"years 1 to 9999|time span"):
        parse_instant(text)


def test_times_are_shown_in_a_zone_with_its_offset():
    stamp = Timestamp()
    stamp.FromJsonString("2026-07-01T10:00:00Z")
    assert show_instant(stamp, ZoneInfo("Europe/Berlin")) == "2026-07-01 12:00:00+02:00"
    stamp.FromJsonString("2026-07-01T10:00:00.25Z")
    assert show_instant(stamp, UTC) == "2026-07-01 10:00:00.250+00:00"
    assert show_instant(Timestamp()) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0421, "0.042s"),
        (9.94, "9.9s"),
        (59.7, "1m"),
        (90, "1m 30s"),
        (3600, "1h"),
        (3605, "1h"),
        (93_784, "1d 2h"),
    ],
)
def test_two_largest_units_are_shown(seconds, text):
    assert show_seconds(seconds) == text


def test_times_are_shown_by_how_far_they_are_away():
    stamp = Timestamp()
    stamp.FromJsonString("2026-07-01T10:00:00Z")
    at = datetime(2026, 7, 1, 9, tzinfo=UTC)
    assert show_relative(stamp, at) == "in 1h"
    assert show_relative(stamp, at + timedelta(hours=2)) == "1h ago"


def test_the_zone_of_a_task_is_that_of_its_cron_expression_or_utc_where_that_is_unknown():
    task = Task()
    assert zone_of(task) is None
    task.schedule.cron.time_zone = "Asia/Tokyo"
    assert zone_of(task) == ZoneInfo("Asia/Tokyo")
    task.schedule.cron.time_zone = ""
    assert zone_of(task) == ZoneInfo("UTC")
    task.schedule.cron.time_zone = "Moon/Crater"
    assert zone_of(task) == UTC
