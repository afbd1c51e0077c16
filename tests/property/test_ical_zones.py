"""Time zones that a file defines against zoneinfo."""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from raftsched.cli.files.ical.components import parse
from raftsched.cli.files.ical.zones import Definitions, Zones
from raftsched.core.times.zone import stretch_at

NAMES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca",
    "America/St_Johns", "Asia/Tehran", "Europe/Dublin",
)  # fmt: skip
FIRST = datetime(2001, 1, 1, tzinfo=UTC)
SECONDS = 27 * 365 * 86_400
seconds = st.integers(0, SECONDS)


@cache
def own(name: str) -> tzinfo:
    """The zone as rules in a file, each change by itself, under a name that nobody knows."""
    at_s = round((FIRST - timedelta(days=400)).timestamp())
    rules = []
    while at_s < round(FIRST.timestamp()) + SECONDS:
        before = stretch_at(name, at_s)
        at_s = before.end_s
        after = stretch_at(name, at_s)
        offsets = (f"TZOFFSET{word}:{offset(each.offset_s)}" for word, each in (("FROM", before), ("TO", after)))
        local = datetime.fromtimestamp(at_s + before.offset_s, UTC)
        rules += ["BEGIN:STANDARD", f"DTSTART:{local:%Y%m%dT%H%M%S}", *offsets, "END:STANDARD"]
    text = "\n".join(["BEGIN:VCALENDAR", "BEGIN:VTIMEZONE", "TZID:Mine", *rules, "END:VTIMEZONE", "END:VCALENDAR"])
    (calendar,) = parse(text.encode()).calendars
    return Zones(calendar.parts, Definitions((), 2028)).find("Mine")


def offset(seconds: int) -> str:
    return f"{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02}{abs(seconds) // 60 % 60:02}{abs(seconds) % 60:02}"


@given(st.sampled_from(NAMES), seconds)
@example("Europe/Berlin", round((datetime(2026, 10, 25, 1, tzinfo=UTC) - FIRST).total_seconds()))
@example("Australia/Lord_Howe", round((datetime(2026, 4, 4, 15, tzinfo=UTC) - FIRST).total_seconds()))
def test_instants_are_shown_as_the_database_has_them(name: str, at_s: int) -> None:
    at = FIRST + timedelta(seconds=at_s)
    ours, theirs = at.astimezone(own(name)), at.astimezone(ZoneInfo(name))
    assert ours.isoformat() == theirs.isoformat()
    assert ours.fold == theirs.fold
    assert ours.astimezone(UTC) == at


@given(st.sampled_from(NAMES), seconds, st.sampled_from([0, 1]))
@example("Europe/Berlin", round((datetime(2026, 3, 29, 2, 30, tzinfo=UTC) - FIRST).total_seconds()), 0)
@example("Europe/Berlin", round((datetime(2026, 3, 29, 2, 30, tzinfo=UTC) - FIRST).total_seconds()), 1)
@example("Europe/Berlin", round((datetime(2026, 10, 25, 2, 30, tzinfo=UTC) - FIRST).total_seconds()), 1)
def test_local_times_mean_what_the_database_says(name: str, at_s: int, fold: int) -> None:
    local = (FIRST + timedelta(seconds=at_s)).replace(tzinfo=None, fold=fold)
    ours, theirs = local.replace(tzinfo=own(name)), local.replace(tzinfo=ZoneInfo(name))
    assert ours.utcoffset() == theirs.utcoffset()
