"""Cron expressions against cronsim, another reading of Debian's cron, on the days on which the clocks change."""

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import assume, example, given
from hypothesis import strategies as st

from raftsched.core.state.model import SECOND_US, Cron, Schedule
from raftsched.core.times.schedule import fires
from raftsched.core.times.zone import stretch_at

DAY_S = 86_400
# Both hemispheres, midnight, an offset given up for good, and none at all. Not Lord Howe: cronsim lets `30 * * * *` run
# once where half an hour is repeated, cron(8) twice.
ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "America/Santiago",
    "Europe/Istanbul",
    "Asia/Tokyo",
)
minutes = st.one_of(st.just("*"), st.sampled_from(["*/7", "*/30", "0-20/5"]), st.integers(0, 59).map(str))
hours = st.one_of(st.just("*"), st.sampled_from(["*/2", "1,2", "0-3", "2-4"]), st.integers(0, 4).map(str))
days = st.sampled_from(["* * *", "*/2 * *", "1,15 * 1", "* 3,10,11 0", "29 2 *", "L * *", "* * 5#2"])


@given(minutes, hours, days, st.sampled_from(ZONES), st.integers(1_262_304_000, 1_893_456_000), st.integers(-2, 2))
@example("30", "1", "* * *", "America/New_York", 1_793_000_000, 0)
@example("30", "2", "* * *", "America/New_York", 1_772_000_000, 0)
def test_the_days_around_a_clock_change_are_those_of_cronsim(
    minute: str, hour: str, day: str, name: str, at_s: int, away: int
) -> None:
    change_s = stretch_at(name, at_s).end_s
    first_s = (change_s // 60 - 1_440 + away * 360) * 60
    expression = f"{minute} {hour} {day}"
    zone = ZoneInfo(name)
    found = fires(Schedule(Cron(expression, name)), (first_s + 1) * SECOND_US, (first_s + 400 * DAY_S) * SECOND_US, 60)
    assume(found)
    theirs = islice(CronSim(expression, datetime.fromtimestamp(first_s, zone)), len(found))
    assert [datetime.fromtimestamp(at_us / SECOND_US, UTC) for at_us in found] == [at.astimezone(UTC) for at in theirs]
