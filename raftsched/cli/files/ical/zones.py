"""The time zones that the times of an iCalendar file name: of the IANA database, of Windows, or defined in the file."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from raftsched.cli.files.ical.components import Component
from raftsched.cli.files.ical.rules import parse_rule, read_until
from raftsched.cli.files.ical.values import EventError, local_s, read_time
from raftsched.core.times.wall_clock import NEVER_S
from raftsched.core.times.zone import DAY_S, is_known

MAX_CHANGES = 10_000
"""Of the clock, that a definition of a time zone may have."""
MAX_ZONES = 1_000
"""That a file may define."""
_FIRST_YEAR = 1604
"""What began before, as that of programs which write 0001 for always, begins then."""
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?:?(\d\d)?", re.ASCII)


class Definitions:
    """The time zones that a file defines: by name, and worked out once, however many calendars repeat one."""

    def __init__(self, components: Iterable[Component], last_year: int) -> None:
        """VTIMEZONE components among others, which are read to the end of ``last_year``."""
        self.by_name = by_name(components)
        self._last_s = local_s(date(min(last_year + 2, 9999), 1, 1))
        self._found: dict[object, OwnZone] = {}

    def zone(self, component: Component) -> tzinfo:
        """What a VTIMEZONE component defines. Raises EventError."""
        content = repr(component.parts)
        if content not in self._found:
            if len(self._found) == MAX_ZONES:
                raise EventError(f"the file defines more than {MAX_ZONES:,} time zones")
            self._found[content] = OwnZone(component.text("TZID"), _changes(component, self._last_s))
        return self._found[content]


class Zones:
    """The time zones of one calendar of a file."""

    def __init__(self, own: Iterable[Component], definitions: Definitions) -> None:
        """``own`` are its VTIMEZONE components, among others; ``definitions`` those of the file."""
        self._own = by_name(own)
        self._definitions = definitions
        self._found: dict[str, tzinfo | EventError] = {}

    def find(self, name: str) -> tzinfo:
        """The zone. Raises EventError: nothing says what it is."""
        if name not in self._found:
            try:
                self._found[name] = self._work_out(name)
            except EventError as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, EventError):
            raise found
        return found

    def _work_out(self, name: str) -> tzinfo:
        """A name of the IANA database is that zone, whatever part of its rules the file repeats."""
        if is_known(name):
            return ZoneInfo(name)
        unknown = EventError(f"its time zone {name[:60]!r} is neither defined in the file nor known")
        # A file may define a zone in one of its calendars and name it in another.
        definition = self._own.get(name) or self._definitions.by_name.get(name)
        if definition is not None:
            try:
                return self._definitions.zone(definition)
            except EventError as error:
                unknown = error
        iana = _of_windows().get(name.casefold()) or _iana_within(name)
        if not iana:
            raise unknown
        return ZoneInfo(iana)


@cache
def _of_windows() -> dict[str, str]:
    """The names that Windows has for time zones, as Unicode's CLDR maps them."""
    from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

    return {windows.casefold(): iana for windows, iana in WINDOWS_TO_OLSON.items() if is_known(iana)}


@cache
def _iana() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones() if is_known(name)}


def _iana_within(name: str) -> str:
    """``/example.org/20260101_1/Europe/Berlin`` ends with the name of a zone, ``tzone://Microsoft/Utc`` too."""
    parts = name.casefold().strip("/").split("/")
    return next((found for at in range(len(parts)) if (found := _iana().get("/".join(parts[at:])))), "")


def by_name(components: Iterable[Component]) -> dict[str, Component]:
    """The VTIMEZONE components among these; of a name the first."""
    found: dict[str, Component] = {}
    for each in components:
        if each.name == "VTIMEZONE":
            found.setdefault(each.text("TZID"), each)
    return found


class OwnZone(tzinfo):
    """A time zone as a list of changes of its clock."""

    def __init__(self, name: str, changes: list[tuple[int, int, int]]) -> None:
        """Each change is an instant, the offset that it begins and the one that held before, in seconds; ascending."""
        self._name = name
        before = changes[0][2]
        self._at: list[int] = []
        self._early: list[int] = []
        self._late: list[int] = []
        self._offsets = [timedelta(seconds=before)]
        for at_s, after, _ in changes:
            self._at.append(at_s)
            self._early.append(at_s + min(before, after))
            self._late.append(at_s + max(before, after))
            self._offsets.append(timedelta(seconds=after))
            before = after

    def utcoffset(self, at: datetime | None, /) -> timedelta | None:
        """As PEP 495 has it: with fold=0 the offset from before a change holds for what comes twice or never."""
        return None if at is None else self._offsets[bisect_right(self._early if at.fold else self._late, local_s(at))]

    def fromutc(self, at: datetime, /) -> datetime:
        """The local time of an instant."""
        offset = self._offsets[bisect_right(self._at, local_s(at))]
        local = at.replace(fold=0) + offset
        return local if local.utcoffset() == offset else local.replace(fold=1)

    def dst(self, _: datetime | None, /) -> None:
        """Not known."""

    def tzname(self, _: datetime | None, /) -> str:
        """The name in the file."""
        return self._name


def _changes(zone: Component, last_s: int) -> list[tuple[int, int, int]]:
    """Of the clock, up to a local time. Raises EventError."""
    found: dict[int, tuple[int, int, int]] = {}
    for observance in zone.parts:
        before, after = (_offset(observance.text(name)) for name in ("TZOFFSETFROM", "TZOFFSETTO"))
        for at_s in _onsets(observance, before, last_s):
            found[at_s - before] = (at_s - before, after, before)
            if len(found) > MAX_CHANGES:
                raise EventError(f"its time zone {zone.text('TZID')[:60]!r} has more than {MAX_CHANGES:,} changes")
    if not found:
        raise EventError(f"its time zone {zone.text('TZID')[:60]!r} is defined without a rule")
    return sorted(found.values())


def _onsets(observance: Component, before: int, last_s: int) -> Iterator[int]:
    """The local times at which an observance begins."""
    start = re.sub(r"^\d{4}", lambda year: f"{max(int(year[0]), _FIRST_YEAR)}", observance.text("DTSTART"))
    start_s = local_s(read_time(start, None))
    yield start_s
    for each in observance.properties.get("RDATE", []):
        yield from (local_s(read_time(text.partition("/")[0], None)) for text in each.value.split(","))
    for each in observance.properties.get("RRULE", []):
        rule = parse_rule(each.value, start_s, _until(each.value, before))
        at_s = rule.next_local(start_s)
        while at_s <= last_s:
            yield at_s
            at_s = rule.next_local(at_s + 1)


def _until(text: str, offset_s: int) -> int:
    """The last local time. UNTIL is in UTC here."""
    until = read_until(text)
    if until is None:
        return NEVER_S
    if not isinstance(until, datetime):
        return local_s(until) + DAY_S - 1
    return local_s(until) + (offset_s if until.tzinfo else 0)


def _offset(text: str) -> int:
    match = _OFFSET.fullmatch(text.strip())
    if match is None:
        raise EventError(f"{text[:20]!r} is no offset from UTC such as +0100")
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise EventError(f"{text[:20]!r} is no offset from UTC such as +0100")
    return (hours * 3600 + minutes * 60 + seconds) * (-1 if match[1] == "-" else 1)
