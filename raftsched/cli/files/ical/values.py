"""The values of iCalendar's properties: days, times, lengths of time and periods (RFC 5545, section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from raftsched.cli.files.ical.components import Property
from raftsched.core.times.recurrence import FIRST_YEAR

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times
_DAY = timedelta(days=1)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z)?)?", re.ASCII)
_DURATION = re.compile(
    r"([+-]?)P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9})S)?)?", re.ASCII
)


class EventError(ValueError):
    """Why an event cannot be read, for people."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long an event takes: days of the calendar, and an exact time behind them."""

    days: int = 0
    exact: timedelta = timedelta(0)

    def end(self, begin: date) -> date:
        """The first day that it does not take; of an event with times, the instant in UTC."""
        if not isinstance(begin, datetime):
            return begin + timedelta(days=self.days)
        return (begin + self.days * _DAY).astimezone(UTC) + self.exact

    def at_most(self) -> timedelta:
        """Not less than it takes, whatever clocks do."""
        return timedelta(days=self.days + 1) + self.exact


def read_time(text: str, zone: tzinfo | None, *, is_day: bool = False) -> date:
    """A day, or a time: in UTC, in the zone, or, where that is None, without a zone. Raises EventError."""
    match = _TIME.fullmatch(text.strip().upper())
    try:
        if match is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        on = date(year, month, day)
        # Who has no leap seconds reads second 60 as 59.
        at = datetime(year, month, day, hour, minute, 59 if second == 60 else second)  # noqa: DTZ001 - added below
    except ValueError:
        raise EventError(f"{text[:40]!r} is no day such as 20261224, and no time such as 20261224T090000") from None
    if not FIRST_YEAR <= year < 9999:
        raise EventError(f"{text[:40]!r} does not lie between {FIRST_YEAR} and 9998")
    if is_day or match[4] is None:
        return on
    return at.replace(tzinfo=UTC if match[7] else zone)


def read_length(text: str) -> Length:
    """A DURATION: weeks and days are those of the calendar, the rest is exact. Raises EventError."""
    match = _DURATION.fullmatch(text.strip().upper())
    if match is None or not any(match.groups()[1:]):
        raise EventError(f"DURATION: {text[:40]!r} is no length such as P1D or PT1H30M")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    length = Length(7 * weeks + days, timedelta(hours=hours, minutes=minutes, seconds=seconds))
    if match[1] == "-" and length != Length():
        raise EventError("ends before it begins")
    return length


def length_between(begin: date, end: date) -> Length:
    """From DTSTART to DTEND. Raises EventError: they are not of one kind, or the wrong way round."""
    if isinstance(begin, datetime) != isinstance(end, datetime):
        raise EventError("DTSTART and DTEND are a day and a time: both must be days, or times")
    if isinstance(begin, datetime) and isinstance(end, datetime):
        exact = end.astimezone(UTC) - begin.astimezone(UTC)
        length = Length(exact=exact)
    else:
        length = Length(days=(end - begin).days)
    if length.days < 0 or length.exact < timedelta(0):
        raise EventError("ends before it begins")
    return length


def read_times(
    properties: list[Property], zone_of: Callable[[Property], tzinfo | None]
) -> list[tuple[date, Length | None]]:
    """Those of RDATE and EXDATE, periods with their lengths. Raises EventError."""
    found: list[tuple[date, Length | None]] = []
    for each in properties:
        zone, is_day = zone_of(each), each.parameters.get("VALUE", "").upper() == "DATE"
        for text in filter(None, map(str.strip, each.value.split(","))):
            first, slash, last = text.partition("/")
            begin = read_time(first, zone, is_day=is_day)
            found.append((begin, _period(begin, last, zone) if slash else None))
    return found


def _period(begin: date, last: str, zone: tzinfo | None) -> Length:
    if "P" in last.upper():
        return read_length(last)
    return length_between(begin, read_time(last, zone))


def local_s(at: date) -> int:
    """Seconds from 1970-01-01 00:00 to the local time, or to the beginning of the day."""
    # The zone of a local time comes after, so the linter is told that none is meant here.
    naive = at.replace(tzinfo=None) if isinstance(at, datetime) else datetime(at.year, at.month, at.day)  # noqa: DTZ001
    return (naive - EPOCH) // timedelta(seconds=1)


def from_local_s(at_s: int, like: date) -> date:
    """The inverse of ``local_s``, a day or a time in the zone of ``like``.

    A local time that comes twice is the first of them; one that is left out is read with the offset from before the
    gap (section 3.3.5).
    """
    at = EPOCH + timedelta(seconds=at_s)
    return at.replace(tzinfo=like.tzinfo) if isinstance(like, datetime) else at.date()


def key(at: date) -> date:
    """What is equal for equal times in different zones."""
    return at.astimezone(UTC) if isinstance(at, datetime) and at.tzinfo else at
