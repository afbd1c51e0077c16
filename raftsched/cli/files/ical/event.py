"""One event of an iCalendar file, read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from raftsched.cli.files.ical.components import Component, Property
from raftsched.cli.files.ical.values import EventError, Length, length_between, read_length, read_time, read_times
from raftsched.cli.files.ical.zones import Zones
from raftsched.cli.show.output import one_line


@dataclass(frozen=True, slots=True)
class Identity:
    """Which event a component describes, and in which revision."""

    uid: str
    """"": it says none, and belongs to no other."""
    occurrence: date | None
    """RECURRENCE-ID: the time of the series that it stands for; None: it is the series, or takes place once."""
    and_later: bool
    """RANGE=THISANDFUTURE: it changes the later times of the series too."""
    sequence: int
    stamp: str
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Event:
    """When an event takes place, and how it repeats."""

    start: date
    """A day, or a time in its zone."""
    length: Length
    rules: tuple[str, ...] = ()
    rules_out: tuple[str, ...] = ()
    """EXRULE, which RFC 5545 has withdrawn and old files have."""
    more: tuple[tuple[date, Length | None], ...] = ()
    """RDATE, periods with their lengths."""
    out: tuple[date, ...] = ()
    """EXDATE."""

    @property
    def zone(self) -> tzinfo | None:
        """Of its times; None for whole days."""
        return self.start.tzinfo if isinstance(self.start, datetime) else None


class ComponentReader:
    """Reads the events of one calendar of a file."""

    def __init__(self, zones: Zones, default: tzinfo | None, *, cancels: bool) -> None:
        """``default`` is the zone of times that name none; ``cancels`` (METHOD:CANCEL): all events are cancelled."""
        self._zones = zones
        self._default = default
        self._cancels = cancels

    def identity(self, component: Component) -> Identity:
        """Which event it is. Raises EventError."""
        if not component.ended:
            raise EventError("it has no END:VEVENT: is the file cut off?")
        status = component.text("STATUS").strip().upper()
        occurrence = component.first("RECURRENCE-ID")
        reach = occurrence.parameters.get("RANGE", "").upper() if occurrence else ""
        if reach not in ("", "THISANDFUTURE"):
            raise EventError(f"RANGE={reach[:20]} is not read; RFC 5545 has THISANDFUTURE alone")
        sequence = component.text("SEQUENCE").strip()
        return Identity(
            uid=component.text("UID").strip(),
            # A time without a zone is in that of the series, which is found later.
            occurrence=self._time(component, "RECURRENCE-ID", None) if occurrence else None,
            and_later=bool(reach),
            sequence=int(sequence) if sequence.isascii() and sequence.isdigit() and len(sequence) < 10 else 0,
            stamp=component.text("DTSTAMP").strip().upper(),
            cancelled=self._cancels or status == "CANCELLED",
        )

    def event(self, component: Component) -> Event:
        """When it takes place. Raises EventError."""
        if component.first("DTSTART") is None:
            raise EventError("it has no DTSTART")
        for name in ("DTSTART", "DTEND", "DURATION"):
            if len({each.value for each in component.properties.get(name, [])}) > 1:
                raise EventError(f"it has more than one {name}")
        start = self._time(component, "DTSTART", self._default)
        if isinstance(start, datetime) and start.tzinfo is None:
            raise EventError("it has times without a time zone: give --zone")
        zone = start.tzinfo if isinstance(start, datetime) else None

        def zone_of(each: Property) -> tzinfo | None:
            return self._zone_of(each, zone)

        return Event(
            start,
            self._length(component, start),
            tuple(each.value for each in component.properties.get("RRULE", [])),
            tuple(each.value for each in component.properties.get("EXRULE", [])),
            tuple(read_times(component.properties.get("RDATE", []), zone_of)),
            tuple(at for at, _ in read_times(component.properties.get("EXDATE", []), zone_of)),
        )

    def _length(self, component: Component, start: date) -> Length:
        length = Length()
        if component.first("DTEND") is not None:
            zone = start.tzinfo if isinstance(start, datetime) else None
            length = length_between(start, self._time(component, "DTEND", zone))
        elif (duration := component.first("DURATION")) is not None:
            length = read_length(duration.value)
        if isinstance(start, datetime):
            return length
        # Whole days: one at least, which is what programs mean that write the same day as DTSTART and DTEND.
        return Length(days=max(1, length.days - (-length.exact // timedelta(days=1))))

    def _time(self, component: Component, name: str, zone: tzinfo | None) -> date:
        found = component.first(name)
        assert found is not None
        is_day = found.parameters.get("VALUE", "").upper() == "DATE"
        try:
            return read_time(found.value, self._zone_of(found, zone), is_day=is_day)
        except EventError as error:
            raise EventError(f"{name}: {error}" if "time zone" not in str(error) else str(error)) from None

    def _zone_of(self, found: Property, otherwise: tzinfo | None) -> tzinfo | None:
        name = found.parameters.get("TZID", "")
        return self._zones.find(name) if name and not found.value.rstrip().upper().endswith("Z") else otherwise


def title(component: Component) -> str:
    """What to call an event: its SUMMARY."""
    return one_line(component.text("SUMMARY"), 60)


def label(component: Component, number: int) -> str:
    """Which event is meant, for people: its SUMMARY and UID, or its place in the file, from 1."""
    uid = one_line(component.text("UID"), 60)
    words = [title(component)] if title(component) else []
    words += [f"(UID {uid})"] if uid else [f"(event {number:,} of the file)"]
    return " ".join(words)
