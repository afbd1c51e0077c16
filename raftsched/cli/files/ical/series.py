"""When an event takes place: its recurrence set (RFC 5545, section 3.8.5), and single times that were changed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from raftsched.cli.files.ical.event import Event
from raftsched.cli.files.ical.rules import of_days, parse_rule, parts, read_until
from raftsched.cli.files.ical.values import EventError, Length, from_local_s, key, local_s
from raftsched.core.times.wall_clock import NEVER_S
from raftsched.core.times.zone import DAY_S

MAX_TIMES = 2_000
"""That one event may take place in the years asked for."""


class TooOftenError(EventError):
    """It takes place more than ``MAX_TIMES`` times."""

    def __init__(self) -> None:
        super().__init__(f"it comes more than {MAX_TIMES:,} times in these years; give fewer --years")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time at which an event takes place."""

    start: date
    length: Length
    title: str


@dataclass(frozen=True, slots=True)
class ChangedInstance:
    """What became of one time of a series."""

    occurrence: date
    """RECURRENCE-ID."""
    and_later: bool
    event: Event | None
    """None: it was cancelled."""
    title: str


class Changes:
    """Those of one series."""

    def __init__(self, changes: Iterable[ChangedInstance], zone: tzinfo | None) -> None:
        """``zone`` is that of the series, None for whole days."""
        self._zone = zone
        self._at: set[date] = set()
        later: list[tuple[date, ChangedInstance]] = []
        for change in changes:
            at = self._of_series(change.occurrence)
            # A day stands for the time of that day.
            self._at.add(change.occurrence if zone and not isinstance(change.occurrence, datetime) else key(at))
            if change.and_later:
                later.append((at, change))
        self._later = sorted(later, key=lambda each: key(each[0]))
        self._later_keys = [key(at) for at, _ in self._later]
        moves = (abs(_move(at, change.event.start)) for at, change in self._later if change.event)
        self.shift = max(moves, default=timedelta(0)) + timedelta(days=2)
        """Not less than they move later times."""

    def apply(self, found: Occurrence) -> Occurrence | None:
        """What becomes of a time of the series; None: it is changed by itself, or cancelled."""
        if is_among(found.start, self._at, self._zone):
            return None
        number = bisect_left(self._later_keys, key(found.start))
        if not number:
            return found
        at, change = self._later[number - 1]
        if change.event is None:
            return None
        start = _moved(found.start, at, change.event.start)
        return Occurrence(start, change.event.length, change.title)

    def _of_series(self, at: date) -> date:
        """As the times of the series are written: days, or times in its zone."""
        if self._zone is None:
            return at.date() if isinstance(at, datetime) else at
        if not isinstance(at, datetime):
            return datetime.combine(at, time(), self._zone)
        return at.astimezone(self._zone) if at.tzinfo else at.replace(tzinfo=self._zone)


def occurrences(event: Event, title: str, years: range, changes: Changes) -> list[Occurrence]:
    """The times in or near these years, without those that are changed by themselves. Raises EventError."""
    margin = event.length.at_most() + changes.shift
    first_s, last_s = (local_s(date(year, 1, 1)) for year in (years[0], years[-1] + 1))
    margin_s = margin // timedelta(seconds=1)
    found = _recurrence_set(event, first_s - margin_s, last_s + margin_s)
    changed = (changes.apply(Occurrence(start, length, title)) for start, length in found)
    return [each for each in changed if each is not None]


def is_among(at: date, marks: set[date], zone: tzinfo | None) -> bool:
    """Whether a time is one of the marks, or on a day that is one."""
    return key(at) in marks or (isinstance(at, datetime) and at.astimezone(zone).date() in marks)


def _recurrence_set(event: Event, first_s: int, last_s: int) -> list[tuple[date, Length]]:
    found = {key(event.start): (event.start, event.length)}
    for rule in map(_readable(event), event.rules):
        found |= {key(at): (at, event.length) for at in _by_rule(event, _with_start(event, rule), first_s, last_s)}
    for at, length in event.more:
        at = _like(event.start, at)
        if first_s <= local_s(at) <= last_s:
            found[key(at)] = (at, length or event.length)
    left_out = {key(_as_mark(event.start, at)) for at in event.out}
    for rule in map(_readable(event), event.rules_out):
        left_out |= {key(at) for at in _by_rule(event, rule, first_s, last_s)}
    if len(found) > MAX_TIMES:
        raise TooOftenError
    return [each for each in found.values() if not is_among(each[0], left_out, event.zone)]


def _readable(event: Event) -> Callable[[str], str]:
    return of_days if event.zone is None else str


def _by_rule(event: Event, text: str, first_s: int, last_s: int) -> Iterator[date]:
    """The times of a rule. Raises EventError: they are too many."""
    is_day = event.zone is None
    until = read_until(text)
    rule = parse_rule(text, local_s(event.start), _until_s(event, until))
    at_s = rule.next_local(first_s)
    count = 0
    while at_s <= last_s:
        at = from_local_s(at_s, event.start)
        # Where it is no day, `at` is a datetime, which mypy cannot tell.
        if not is_day and isinstance(until, datetime) and until.tzinfo and at.astimezone(UTC) > until:  # type: ignore[attr-defined]
            return
        yield at
        count += 1
        if count > MAX_TIMES:
            raise TooOftenError
        # Of whole days, one time a day is enough.
        at_s = rule.next_local((at_s // DAY_S + 1) * DAY_S if is_day else at_s + 1)


def _with_start(event: Event, text: str) -> str:
    """The rule, in which DTSTART counts as the first time (section 3.3.10) though the rule may not have it."""
    found = parts(text)
    start_s = local_s(event.start)
    if not found.get("COUNT", "").isdecimal():
        return text
    rest = {name: value for name, value in found.items() if name != "COUNT"}
    if parse_rule(_joined(rest), start_s, NEVER_S).next_local(start_s) == start_s:
        return text
    # With no more to come, it ends before it begins.
    end = {"COUNT": str(int(found["COUNT"]) - 1)} if int(found["COUNT"]) > 1 else {"UNTIL": "16010101"}
    return _joined(rest | end)


def _joined(found: dict[str, str]) -> str:
    return ";".join(f"{name}={value}" for name, value in found.items())


def _until_s(event: Event, until: date | None) -> int:
    """The last local time of a rule. UNTIL in UTC is a day too late here: the instants are compared as well."""
    if until is None:
        return NEVER_S
    if event.zone is None or not isinstance(until, datetime):
        return local_s(date(until.year, until.month, until.day)) + DAY_S - 1
    return local_s(until.astimezone(event.zone)) + DAY_S if until.tzinfo else local_s(until)


def _like(start: date, at: date) -> date:
    """A day, or a time, as DTSTART is: a day alone gets its time of day."""
    if not isinstance(start, datetime):
        return at.date() if isinstance(at, datetime) else at
    return at if isinstance(at, datetime) else datetime.combine(at, start.time(), start.tzinfo)


def _as_mark(start: date, at: date) -> date:
    """What EXDATE leaves out: of a series of times, a day alone is all of it."""
    return at.date() if isinstance(at, datetime) and not isinstance(start, datetime) else at


def _move(old: date, new: date) -> timedelta:
    """From one to the other on the wall clock."""
    return timedelta(seconds=local_s(new) - local_s(_in_zone_of(new, old)))


def _moved(at: date, old: date, new: date) -> date:
    """The time, moved as the other was, on the wall clock of where that is now."""
    moved_s = local_s(_in_zone_of(new, at)) + _move(old, new) // timedelta(seconds=1)
    return from_local_s(moved_s, new)


def _in_zone_of(like: date, at: date) -> date:
    if not isinstance(at, datetime):
        return at
    return at.astimezone(like.tzinfo) if isinstance(like, datetime) else at.date()
