"""From the bytes of an iCalendar file to its events and time zones, of which none can spoil another."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_FILE_BYTES = 64 << 20
MAX_EVENTS = 100_000

_TIMES = frozenset({"DTSTART", "DTEND", "DURATION", "RECURRENCE-ID", "RDATE", "EXDATE", "RRULE", "EXRULE"})
"""Properties whose values have no colon: the last one begins the value, though programs write some that have one
(``TZID=(UTC+01:00) Berlin``) without quotes."""
_TEXTS = frozenset({"UID", "SUMMARY", "STATUS", "SEQUENCE", "DTSTAMP"})
_OF_ZONES = frozenset({"TZID", "TZOFFSETFROM", "TZOFFSETTO"})
_OF_CALENDARS = frozenset({"METHOD", "X-WR-TIMEZONE"})
_WANTED = _TIMES | _TEXTS | _OF_ZONES | _OF_CALENDARS
_NAME = re.compile(rb"[A-Za-z0-9-]+")
_PARAMETER = re.compile(r';\s*([A-Za-z0-9-]+)\s*=((?:"[^"]*"|[^";:])*)')
_TIME_PARAMETER = re.compile(r';\s*([A-Za-z0-9-]+)\s*=((?:"[^"]*"|[^";])*)')
_ESCAPE = re.compile(r"\\(.)")
_NO_EVENTS = frozenset({"VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY"})


@dataclass(frozen=True, slots=True)
class Property:
    """One content line."""

    value: str
    parameters: dict[str, str] = field(default_factory=dict)
    """By name in capital letters, without quotes."""


@dataclass(slots=True)
class Component:
    """An event, a time zone or one of its observances: what was read of it, by name in capital letters."""

    name: str
    properties: dict[str, list[Property]] = field(default_factory=dict)
    parts: list[Component] = field(default_factory=list)
    ended: bool = False
    """Whether its END was there."""

    def first(self, name: str) -> Property | None:
        """The property; None: it has none."""
        found = self.properties.get(name)
        return found[0] if found else None

    def text(self, name: str) -> str:
        """The value of the property as text for people; "": it has none."""
        found = self.first(name)
        return _ESCAPE.sub(_unescaped, found.value) if found else ""


@dataclass(slots=True)
class CalendarFile:
    """The calendars of a file, each a component with its events and time zones."""

    calendars: list[Component] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """How many there are of what is no event."""


class NoCalendarError(ValueError):
    """What cannot be read at all."""


def parse(data: bytes) -> CalendarFile:
    """The events and time zones of a file. Raises NoCalendarError: there is no calendar in it, or it is too large.

    What stands where it must not, and lines that are none, are passed over; a component that lacks its END is marked.
    """
    if len(data) > MAX_FILE_BYTES:
        raise NoCalendarError(f"it has more than {MAX_FILE_BYTES >> 20} MiB")
    found = CalendarFile()
    tree = _Tree(found)
    for line in filter(None, _lines(data)):
        match = _NAME.match(line)
        name = match[0].decode().upper() if match else ""
        if name == "BEGIN":
            tree.begin(_after_colon(line))
        elif name == "END":
            tree.end(_after_colon(line))
        elif name in _WANTED and (component := tree.current):
            component.properties.setdefault(name, []).append(_property(name, _decoded(line)))
    if not found.calendars:
        raise NoCalendarError("it has no line BEGIN:VCALENDAR")
    if sum(len(each.parts) for each in found.calendars) > MAX_EVENTS:
        raise NoCalendarError(f"it has more than {MAX_EVENTS:,} events; divide it")
    return found


def _lines(data: bytes) -> Iterator[bytes]:
    """Unfolded before they are decoded: a fold may lie within a character."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(codecs.BOM_UTF8)
    data = data.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    yield from data.replace(b"\n ", b"").replace(b"\n\t", b"").split(b"\n")


def _after_colon(line: bytes) -> str:
    return line.partition(b":")[2].strip().decode(errors="replace").upper()


_PLACES = frozenset(
    {("VCALENDAR", "VEVENT"), ("VCALENDAR", "VTIMEZONE"), ("VTIMEZONE", "STANDARD"), ("VTIMEZONE", "DAYLIGHT")}
)
"""What is read, and within what."""


class _Tree:
    """The components that are open."""

    def __init__(self, found: CalendarFile) -> None:
        self._found = found
        self._open: list[tuple[str, Component | None]] = []
        self._names: Counter[str] = Counter()

    @property
    def current(self) -> Component | None:
        """The innermost one; None: it is not read."""
        return self._open[-1][1] if self._open else None

    def begin(self, name: str) -> None:
        """A line BEGIN."""
        if name == "VCALENDAR" or (name == "VEVENT" and not self._names["VCALENDAR"]):
            self._close(0)
            self._found.calendars.append(Component("VCALENDAR"))
            self._push("VCALENDAR", self._found.calendars[-1])
        if name in ("VEVENT", "VTIMEZONE") or name in _NO_EVENTS:
            # They are not within each other: what is still open lacks its END.
            self._close(1)
        if name != "VCALENDAR":
            self._push(name, self._read(name))

    def end(self, name: str) -> None:
        """A line END."""
        while self._names[name]:
            ended, component = self._open.pop()
            self._names[ended] -= 1
            if ended == name:
                if component is not None:
                    component.ended = True
                return

    def _read(self, name: str) -> Component | None:
        parent = self.current
        if parent is None or (parent.name, name) not in _PLACES:
            if parent is not None and name in _NO_EVENTS:
                self._found.others[name] += 1
            return None
        parent.parts.append(Component(name))
        return parent.parts[-1]

    def _push(self, name: str, component: Component | None) -> None:
        self._open.append((name, component))
        self._names[name] += 1

    def _close(self, depth: int) -> None:
        while len(self._open) > depth:
            self._names[self._open.pop()[0]] -= 1


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")


def _property(name: str, line: str) -> Property:
    rest = line[len(name) :]
    pattern = _PARAMETER
    if name in _TIMES:
        rest, _, value = rest.rpartition(":")
        pattern = _TIME_PARAMETER
    parameters, at = {}, 0
    while match := pattern.match(rest, at):
        parameters[match[1].upper()] = match[2].strip().replace('"', "")
        at = match.end()
    if name not in _TIMES:
        value = rest[at:].partition(":")[2]
    return Property(value.strip(), parameters)


def _unescaped(match: re.Match[str]) -> str:
    return " " if match[1] in "nN" else match[1]
