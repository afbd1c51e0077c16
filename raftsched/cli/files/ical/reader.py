"""Reads the events of an iCalendar file as exclusions, and says which had to be left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from raftsched.cli.failures import usage
from raftsched.cli.files.ical.components import CalendarFile, Component, NoCalendarError, parse
from raftsched.cli.files.ical.event import ComponentReader, label, title
from raftsched.cli.files.ical.revisions import Candidate, latest, taking_place
from raftsched.cli.files.ical.series import MAX_TIMES, ChangedInstance, Changes, Occurrence, TooOftenError, occurrences
from raftsched.cli.files.ical.values import EventError, Length
from raftsched.cli.files.ical.zones import Definitions, Zones

if TYPE_CHECKING:
    from raftsched_client import Exclusion

MAX_ALL_TIMES = 200_000
"""That the events of a file may take place in the years asked for, before equal ones are made one."""
_DAY = timedelta(days=1)
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(9998, 12, 31)
"""Of an exclusion."""


@dataclass(slots=True)
class Read:
    """What became of a file."""

    exclusions: list[Exclusion] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Each event that could not be read, and why."""
    remarks: list[str] = field(default_factory=list)
    """What is rightly no exclusion."""
    events: int = 0
    """How many the file has."""


def read_events(data: bytes, years: range, zone: ZoneInfo | None) -> Read:
    """The events that touch these years, repeated ones each time. Raises Failure for what is no iCalendar file.

    ``zone`` is that of times that name none; by default what the calendar says by X-WR-TIMEZONE. Cancelled events and
    those that take no time are no exclusions. An event that cannot be read does not keep the others.
    """
    try:
        file = parse(data)
    except NoCalendarError as error:
        raise usage(f"this is no iCalendar file that can be read: {error}") from None
    return _EventReader(file, years, zone).read()


class _EventReader:
    def __init__(self, file: CalendarFile, years: range, zone: tzinfo | None) -> None:
        self._file = file
        self._years = years
        self._zone = zone
        self._read = Read()
        self._alone: dict[int, ChangedInstance] = {}
        self._changes: dict[str, list[ChangedInstance]] = {}
        self._changes_in: dict[tuple[str, tzinfo | None], Changes] = {}
        self._times = 0

    def read(self) -> Read:
        read = self._read
        candidates, replaced = latest(self._candidates())
        read.remarks += [f"left out, as a later revision is there: {_label(each)}" for each in replaced]
        for name, count in sorted(self._file.others.items()):
            read.remarks.append(f"left out, as they are no events: {count:,} {name}")
        counting = taking_place(candidates)
        changes = [each for each in counting if each.identity.occurrence is not None]
        for each in changes:
            self._guarded(each, self._read_change)
        for each in counting:
            self._guarded(each, self._add_change if each.identity.occurrence is not None else self._add_series)
        return read

    def _candidates(self) -> Iterator[Candidate]:
        definitions = Definitions((part for each in self._file.calendars for part in each.parts), self._years[-1])
        for calendar in self._file.calendars:
            zones = Zones(calendar.parts, definitions)
            reader = ComponentReader(
                zones,
                self._zone or _zone_of_calendar(calendar, zones),
                cancels=calendar.text("METHOD").strip().upper() == "CANCEL",
            )
            for component in calendar.parts:
                if component.name == "VEVENT":
                    self._read.events += 1
                    candidate = self._candidate(component, reader)
                    if candidate is not None:
                        yield candidate

    def _candidate(self, component: Component, reader: ComponentReader) -> Candidate | None:
        number = self._read.events
        try:
            return Candidate(number, component, reader.identity(component), reader)
        except EventError as error:
            self._read.left_out.append(f"{label(component, number)}: {error}")
            return None

    def _guarded(self, each: Candidate, read: Callable[[Candidate], None]) -> None:
        """One event that cannot be read does not keep the others."""
        try:
            read(each)
        except EventError as error:
            self._read.left_out.append(f"{_label(each)}: {error}")
            if isinstance(error, TooOftenError):
                self._count(MAX_TIMES)
        except OverflowError:
            self._read.left_out.append(f"{_label(each)}: its times lie beyond the year 9998")

    def _read_change(self, each: Candidate) -> None:
        """One time of a series that was changed: it takes place by itself, and not as the series says."""
        identity = each.identity
        assert identity.occurrence is not None
        event = None if identity.cancelled else each.reader.event(each.component)
        change = ChangedInstance(identity.occurrence, identity.and_later, event, title(each.component))
        self._alone[each.number] = change
        if identity.uid:
            self._changes.setdefault(identity.uid, []).append(change)

    def _add_change(self, each: Candidate) -> None:
        change = self._alone.get(each.number)
        if change is not None and change.event is not None:
            self._add(each, [Occurrence(change.event.start, change.event.length, change.title)])

    def _add_series(self, each: Candidate) -> None:
        event, uid = each.reader.event(each.component), each.identity.uid
        if (uid, event.zone) not in self._changes_in:
            self._changes_in[uid, event.zone] = Changes(self._changes.get(uid, ()) if uid else (), event.zone)
        found = occurrences(event, title(each.component), self._years, self._changes_in[uid, event.zone])
        self._count(len(found))
        self._add(each, found)
        if event.rules and each.component.first("DTEND") is not None:
            self._read.remarks += [f"{_label(each)}: {words}" for words in _shifted_end(found, self._years)]

    def _count(self, times: int) -> None:
        self._times += times
        if self._times > MAX_ALL_TIMES:
            raise usage(f"the events take place more than {MAX_ALL_TIMES:,} times in these years; give fewer --years")

    def _add(self, each: Candidate, found: Iterable[Occurrence]) -> None:
        touching = [one for one in found if _touches(one, self._years)]
        self._read.exclusions += [_exclusion(one) for one in touching if one.length != Length()]
        if any(one.length == Length() for one in touching):
            self._read.remarks.append(f"left out, as it takes no time: {_label(each)}")


def _label(each: Candidate) -> str:
    return label(each.component, each.number)


def _zone_of_calendar(calendar: Component, zones: Zones) -> tzinfo | None:
    name = calendar.text("X-WR-TIMEZONE").strip()
    try:
        return zones.find(name) if name else None
    except EventError:
        # It matters to times without a zone alone, and each of these is told.
        return None


def _touches(found: Occurrence, years: range) -> bool:
    """Whether it lies in these years in part, by the clock of its own zone."""
    begin, end = found.start, found.length.end(found.start)
    if isinstance(begin, datetime) and isinstance(end, datetime):
        last = end.astimezone(begin.tzinfo) - timedelta(microseconds=bool(found.length != Length()))
        return begin.year <= years[-1] and last.year >= years[0]
    return begin.year <= years[-1] and (end - _DAY).year >= years[0]


def _shifted_end(found: Iterable[Occurrence], years: range) -> list[str]:
    """A remark on the first time whose end a change of the clock moves, where programs show the usual time of day."""
    for each in found:
        if isinstance(each.start, datetime) and _touches(each, years):
            shown = each.start.replace(tzinfo=None) + each.length.exact
            end = each.start.astimezone(UTC) + each.length.exact
            at = end.astimezone(each.start.tzinfo).replace(tzinfo=None)
            if at != shown:
                as_long = "each time is as long as the first, as RFC 5545 has it"
                return [f"ends at {at:%H:%M} on {at:%Y-%m-%d}, not at {shown:%H:%M}: the clock changes, and {as_long}"]
    return []


def _exclusion(found: Occurrence) -> Exclusion:
    from raftsched_client import Exclusion, to_timestamp

    begin, end = found.start, found.length.end(found.start)
    if isinstance(begin, datetime) and isinstance(end, datetime):
        first = datetime(_FIRST_DAY.year, 1, 1, tzinfo=UTC)
        return Exclusion(
            start_time=to_timestamp(max(begin.astimezone(UTC), first), "start_time"),
            end_time=to_timestamp(end, "end_time"),
            reason=found.title,
        )
    begin, last = max(begin, _FIRST_DAY), min(end - _DAY, _LAST_DAY)
    return Exclusion(date=begin.isoformat(), last_date=last.isoformat() if last > begin else "", reason=found.title)
