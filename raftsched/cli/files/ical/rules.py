"""The rules of iCalendar's RRULE, EXRULE and time zones, read by those of schedules."""

from __future__ import annotations

from datetime import date

from raftsched.cli.files.ical.values import EventError, read_time
from raftsched.core.times import rrule
from raftsched.core.times.recurrence import MAX_TEXT_CHARS

_TIMES = ("BYHOUR", "BYMINUTE", "BYSECOND")


def parse_rule(text: str, start_s: int, until_s: int) -> rrule.Rule:
    """The rule that begins at a local time and ends with one. Raises EventError."""
    try:
        return rrule.parse(text, start_s, until_s)
    except rrule.RruleError as error:
        raise EventError(f"its rule cannot be read: {error}") from None


def read_until(text: str) -> date | None:
    """UNTIL: a day, a time in UTC, or one without a zone; None: the rule has none. Raises EventError."""
    until = parts(text).get("UNTIL")
    return None if until is None else read_time(until, None)


def parts(text: str) -> dict[str, str]:
    """Those of a rule by name. Raises EventError."""
    if len(text) > MAX_TEXT_CHARS:
        raise EventError(f"its rule has {len(text):,} characters; at most {MAX_TEXT_CHARS:,} are read")
    try:
        return rrule.split(text)
    except rrule.RruleError as error:
        raise EventError(f"its rule cannot be read: {error}") from None


def of_days(text: str) -> str:
    """The rule of an event of whole days, in which times of day MUST be ignored (RFC 5545, section 3.3.10)."""
    return ";".join(f"{name}={value}" for name, value in parts(text).items() if name not in _TIMES)
