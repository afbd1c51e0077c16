"""Recurrence sets of RFC 5545: the lines DTSTART, RRULE, RDATE and EXDATE of a calendar event as local times.

Differences: one RRULE (a union of schedules has several), no EXRULE, which the RFC has deprecated, and no periods.
DTSTART counts if the rule has it, or if there is no rule. UNTIL without a time includes the whole day, and such an
EXDATE excludes it.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from raftsched.core.times import rrule
from raftsched.core.times.rrule import RruleError, Rule
from raftsched.core.times.wall_clock import NEVER_S
from raftsched.core.times.zone import DAY_S, LAST_INSTANT_S, is_known, stretch_at

MAX_TEXT_CHARS = 4096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_YEAR = 1601
"""Of a DTSTART: a rule may be older than the nominal times that count, and Windows begins its rules in 1601."""
_FIRST_S = (datetime(FIRST_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LINE = re.compile(r"([A-Za-z-]+)((?:;[A-Za-z-]+=[^;:]*)*):(.*)")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z)?)?", re.ASCII)
_NAMES = ("DTSTART", "RRULE", "RDATE", "EXDATE")


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    zone: str
    """TZID; "": none."""
    value: str


@dataclass(slots=True)
class RecurrenceSet:
    """The local times of a rule and of single dates, less those that are excluded. Build it with ``parse``."""

    rule: Rule | None
    extra_s: list[int] = field(default_factory=list)
    """RDATE, ascending."""
    excluded_s: set[int] = field(default_factory=set)
    excluded_days: set[int] = field(default_factory=set)

    @property
    def wildcard(self) -> bool:
        """Whether it follows the wall clock when that changes, as rules do that count hours, minutes or seconds."""
        return self.rule is not None and self.rule.wildcard

    def next_local(self, local_s: int) -> int:
        """The first local time at or after ``local_s``; ``NEVER_S`` when there is none."""
        while True:
            found_s = self.rule.next_local(local_s) if self.rule else NEVER_S
            at = bisect_left(self.extra_s, local_s)
            if at < len(self.extra_s):
                found_s = min(found_s, self.extra_s[at])
            if found_s // DAY_S in self.excluded_days:
                local_s = (found_s // DAY_S + 1) * DAY_S
            elif found_s in self.excluded_s:
                local_s = found_s + 1
            else:
                return found_s


def parse(text: str, zone: str) -> RecurrenceSet:
    """The set that the lines describe in the zone, which must be known. Raises RruleError."""
    lines = _lines(text)
    found = RecurrenceSet(None)
    for line in lines:
        if line.name == "RDATE":
            found.extra_s += [local_s for local_s, _ in _times(line, zone)]
        elif line.name == "EXDATE":
            for local_s, is_day in _times(line, zone):
                (found.excluded_days if is_day else found.excluded_s).add(local_s // DAY_S if is_day else local_s)
    rules = [line.value for line in lines if line.name == "RRULE"]
    if len(rules) > 1:
        raise RruleError("has more than one RRULE; a union of schedules may have several")
    if rules:
        start_s = _start(lines, zone)
        if start_s is None:
            raise RruleError("has no DTSTART")
        found.rule = rrule.parse(rules[0], start_s, _until(rules[0], zone))
    elif not found.extra_s:
        raise RruleError("has neither an RRULE nor an RDATE")
    elif (start_s := _start(lines, zone)) is not None:
        # It defines the first instance, section 3.8.2.4.
        found.extra_s.append(start_s)
    found.extra_s = sorted(set(found.extra_s))
    return found


def with_start(text: str, zone: str, now_us: int) -> str:
    """The text with a DTSTART, by default the beginning of the day in the zone. Raises RruleError.

    COUNT counts from DTSTART, so that it needs one that was chosen.
    """
    lines = _lines(text)
    rules = [line.value for line in lines if line.name == "RRULE"]
    if not rules or _start(lines, zone) is not None:
        return text
    if any("COUNT" in rrule.split(rule) for rule in rules):
        raise RruleError("COUNT counts from DTSTART: give one, such as DTSTART:20260105T090000")
    now_s = now_us // 1_000_000
    day = (now_s + stretch_at(zone, now_s).offset_s) // DAY_S
    return f"DTSTART:{date(1970, 1, 1) + timedelta(days=day):%Y%m%d}T000000\n{text}"


def zone_of(text: str) -> str:
    """The time zone that the lines name by TZID, or UTC if DTSTART is in UTC; "" when they name none.

    Raises RruleError when they name several.
    """
    lines = _lines(text)
    zones = sorted({line.zone for line in lines if line.zone})
    if len(zones) > 1:
        raise RruleError(f"names the time zones {' and '.join(zones[:3])}; a union of schedules may have several")
    if zones:
        return zones[0]
    return "UTC" if any(line.name == "DTSTART" and line.value.upper().endswith("Z") for line in lines) else ""


def _lines(text: str) -> list[_Line]:
    if len(text) > MAX_TEXT_CHARS:
        raise RruleError(f"has {len(text)} characters; at most {MAX_TEXT_CHARS} are allowed")
    # A line that begins with a blank continues the one before, RFC 5545, section 3.1.
    unfolded = re.sub(r"\r?\n[ \t]", "", text)
    lines = [_line(each.strip()) for each in unfolded.splitlines() if each.strip()]
    if not lines:
        raise RruleError("is required, such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=9")
    return lines


def _line(text: str) -> _Line:
    if re.match(r"\w+=", text):
        return _Line("RRULE", "", text)
    match = _LINE.fullmatch(text)
    name = match[1].upper() if match else ""
    if match is None or name not in _NAMES:
        raise RruleError(f"{text[:60]!r} is none of the lines {', '.join(_NAMES)}")
    zone = ""
    for parameter in match[2].split(";")[1:]:
        key, _, value = parameter.partition("=")
        if key.upper() == "TZID":
            zone = value.strip('"')
        elif key.upper() != "VALUE" or value.upper() not in ("DATE", "DATE-TIME"):
            raise RruleError(f"{name} cannot have {parameter[:40]!r}")
    if zone and not is_known(zone):
        raise RruleError(f"unknown time zone {zone[:60]!r}; give an IANA name such as Europe/Berlin")
    return _Line(name, zone, match[3])


def _start(lines: list[_Line], zone: str) -> int | None:
    times = [local_s for line in lines if line.name == "DTSTART" for local_s, _ in _times(line, zone)]
    if len(times) > 1:
        raise RruleError("has more than one DTSTART")
    return times[0] if times else None


def _until(rule: str, zone: str) -> int:
    text = rrule.split(rule).get("UNTIL")
    if text is None:
        return NEVER_S
    local_s, is_day = _time("UNTIL", text, zone)
    return local_s + DAY_S - 1 if is_day else local_s


def _times(line: _Line, zone: str) -> list[tuple[int, bool]]:
    if line.zone and line.zone != zone:
        raise RruleError(f"{line.name} is in {line.zone}, but the time zone is {zone}; leave one of them out")
    return [_time(line.name, text, zone) for text in line.value.split(",")]


def _time(name: str, text: str, zone: str) -> tuple[int, bool]:
    """Local seconds in the zone, and whether it is a day without a time."""
    match = _TIME.fullmatch(text.strip().upper())
    if match is None:
        raise RruleError(f"{name}: {text[:40]!r} is no time such as 20260131T090000, 20260131T080000Z or 20260131")
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        # Who has no leap seconds reads second 60 as 59, section 3.3.12.
        moment = datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=UTC)
    except ValueError:
        raise RruleError(f"{name}: {text[:40]!r} is no time: there is no such day or time of day") from None
    local_s = (moment - _EPOCH) // timedelta(seconds=1)
    if not _FIRST_S <= local_s < LAST_INSTANT_S:
        raise RruleError(f"{name}: {text[:40]!r} must lie between {FIRST_YEAR} and 9999")
    if match[7]:
        local_s += stretch_at(zone, local_s).offset_s
    return local_s, match[4] is None
