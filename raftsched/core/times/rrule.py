"""Recurrence rules of RFC 5545, section 3.3.10: which local times a rule has, from any time on.

The days of a year that a rule has are the bits of one number: those that its BY parts let through, which depend on the
weekday of 1 January and the length of the year alone, and those in a period that INTERVAL counts. The times of a day
are the bits of another. So the next time is found from anywhere at the same cost; nothing walks from DTSTART. Local
times are whole seconds since 1970-01-01 00:00 on the wall clock.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from functools import cached_property

from raftsched.core.times.wall_clock import NEVER_S
from raftsched.core.times.zone import DAY_S

MAX_INTERVAL = 100_000
MAX_COUNT = 10_000
"""The last of COUNT times is found by counting."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LAST_YEAR = 9998
_MAX_EMPTY_PERIODS = 5_000
"""After so many periods without the position that BYSETPOS asks for there is none: months repeat after 4,800."""
_MAX_EMPTY_DAYS = 20_000
"""After so many days without a time the INTERVAL of hours, minutes or seconds never meets the other parts."""
_MAX_SET_TIMES = 1_440
_YEAR_DAYS = 366
_WEEKDAYS = {name: number for number, name in enumerate(("MO", "TU", "WE", "TH", "FR", "SA", "SU"))}
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)


class RruleError(ValueError):
    """The rule is not valid; the message says which part, and what it may be."""


class Frequency(IntEnum):
    """FREQ."""

    YEARLY = 0
    MONTHLY = 1
    WEEKLY = 2
    DAILY = 3
    HOURLY = 4
    MINUTELY = 5
    SECONDLY = 6


class Skip(IntEnum):
    """SKIP of RFC 7529: what becomes of a day of the month that a month does not have."""

    OMIT = 0
    BACKWARD = 1
    """The last day of the month."""
    FORWARD = 2
    """The first day of the next month."""


_UNIT_S = {Frequency.HOURLY: 3600, Frequency.MINUTELY: 60, Frequency.SECONDLY: 1}
# Part: lowest and highest absolute value, and whether it may be negative, to count from the end.
_NUMBERS = {
    "BYMONTH": (1, 12, False),
    "BYWEEKNO": (1, 53, True),
    "BYYEARDAY": (1, 366, True),
    "BYMONTHDAY": (1, 31, True),
    "BYHOUR": (0, 23, False),
    "BYMINUTE": (0, 59, False),
    "BYSECOND": (0, 59, False),
    "BYSETPOS": (1, 366, True),
}
_PARTS = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_NUMBERS, "RSCALE", "SKIP")
_NOT_WITH = {
    "BYWEEKNO": tuple(Frequency)[1:],
    "BYYEARDAY": (Frequency.MONTHLY, Frequency.WEEKLY, Frequency.DAILY),
    "BYMONTHDAY": (Frequency.WEEKLY,),
    "BYSETPOS": tuple(_UNIT_S),
}


@dataclass(slots=True)
class _Parts:
    """What the text of a rule says."""

    frequency: Frequency
    interval: int = 1
    count: int = 0
    week_start: int = 0
    skip: Skip = Skip.OMIT
    by_day: tuple[tuple[int, int], ...] = ()
    """Which one of the month or year (0: each), and the weekday, 0 being Monday."""
    numbers: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def get(self, name: str) -> tuple[int, ...]:
        return self.numbers.get(name, ())


def parse(text: str, start_local_s: int, until_local_s: int = NEVER_S) -> "Rule":
    """The rule ``FREQ=...;...`` that begins at DTSTART, from 1970 on. Raises RruleError.

    UNTIL is checked by whoever knows the time zone, and given as the last local time.
    """
    parts = _read(text)
    _fill(parts, start_local_s)
    rule = Rule(parts, start_local_s, until_local_s)
    if parts.count:
        rule.end_at_count(parts.count)
    return rule


def split(text: str) -> dict[str, str]:
    """The parts of a rule by name, in capital letters. Raises RruleError."""
    found: dict[str, str] = {}
    # Blanks are not of the grammar; people and some programs write them behind separators.
    for part in re.sub(r"\s", "", text.upper()).rstrip(";").split(";"):
        name, equals, value = part.partition("=")
        if not equals or name not in _PARTS:
            raise RruleError(f"{part[:60]!r} is no part of a rule; known are {', '.join(_PARTS)}")
        if name in found:
            raise RruleError(f"{name} comes twice")
        found[name] = value
    return found


def _read(text: str) -> _Parts:
    found = split(text)
    try:
        parts = _Parts(Frequency[found.get("FREQ", "")])
    except KeyError:
        raise RruleError(f"FREQ is required: one of {', '.join(each.name for each in Frequency)}") from None
    if "COUNT" in found and "UNTIL" in found:
        raise RruleError("give COUNT or UNTIL, not both")
    parts.interval = _number("INTERVAL", found.get("INTERVAL", "1"), 1, MAX_INTERVAL)
    parts.count = _number("COUNT", found["COUNT"], 1, MAX_COUNT) if "COUNT" in found else 0
    if found.get("WKST", "MO") not in _WEEKDAYS:
        raise RruleError(f"WKST={found['WKST'][:20]}: allowed are {', '.join(_WEEKDAYS)}")
    parts.week_start = _WEEKDAYS[found.get("WKST", "MO")]
    parts.skip = _skip(found, parts.frequency)
    parts.numbers = {name: _list(name, found[name]) for name in _NUMBERS if name in found}
    parts.by_day = _by_day(found["BYDAY"]) if "BYDAY" in found else ()
    _check(parts)
    return parts


def _check(parts: _Parts) -> None:
    frequency = parts.frequency
    for name, others in _NOT_WITH.items():
        if name in parts.numbers and frequency in others:
            raise RruleError(f"{name} cannot be used with FREQ={frequency.name}")
    if any(nth for nth, _ in parts.by_day):
        if frequency > Frequency.MONTHLY:
            raise RruleError(f"BYDAY with a number cannot be used with FREQ={frequency.name}")
        if "BYWEEKNO" in parts.numbers:
            raise RruleError("BYDAY with a number cannot be used with BYWEEKNO")
    if "BYSETPOS" in parts.numbers and not parts.by_day and len(parts.numbers) == 1:
        raise RruleError("BYSETPOS needs another BY part to choose from")
    if parts.skip is Skip.FORWARD and ("BYSETPOS" in parts.numbers or parts.interval > 1):
        raise RruleError("SKIP=FORWARD cannot be used with INTERVAL or BYSETPOS")


def _skip(found: dict[str, str], frequency: Frequency) -> Skip:
    """RFC 7529. Rules of weeks and shorter name no day that does not exist, so that SKIP means nothing to them."""
    if found.get("RSCALE", "GREGORIAN") != "GREGORIAN":
        raise RruleError(f"RSCALE={found['RSCALE'][:20]}: the only calendar that is known is GREGORIAN")
    if "SKIP" in found and "RSCALE" not in found:
        raise RruleError("SKIP needs RSCALE=GREGORIAN")
    try:
        skip = Skip[found.get("SKIP", "OMIT")]
    except KeyError:
        raise RruleError(f"SKIP={found['SKIP'][:20]}: allowed are {', '.join(each.name for each in Skip)}") from None
    return skip if frequency <= Frequency.MONTHLY else Skip.OMIT


def _number(name: str, text: str, low: int, high: int) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
        raise RruleError(f"{name}={text[:20]}: allowed are {low} to {high}")
    return int(text)


def _list(name: str, text: str) -> tuple[int, ...]:
    low, high, signed = _NUMBERS[name]
    values: set[int] = set()
    for item in text.split(","):
        if not re.fullmatch(r"[+-]?\d{1,3}", item, re.ASCII) or not low <= abs(int(item)) <= high:
            values.clear()
            break
        values.add(int(item))
    if not values or (not signed and any(value < 0 for value in values)):
        raise RruleError(f"{name}={text[:20]}: allowed are {low} to {high}" + (f" and -{high} to -{low}" * signed))
    return tuple(sorted(values))


def _by_day(text: str) -> tuple[tuple[int, int], ...]:
    days = set()
    for item in text.split(","):
        match = _BYDAY.fullmatch(item)
        nth = int(match[1]) if match and match[1] else 0
        if match is None or abs(nth) > 53 or (match[1] and not nth):
            raise RruleError(f"BYDAY={text[:20]}: allowed are {', '.join(_WEEKDAYS)}, and such as 1MO and -1FR")
        days.add((nth, _WEEKDAYS[match[2]]))
    return tuple(sorted(days))


def _fill(parts: _Parts, start_local_s: int) -> None:
    """What a rule leaves out is taken from DTSTART, RFC 5545."""
    day, second = divmod(start_local_s, DAY_S)
    start = date.fromordinal(day + _EPOCH_ORDINAL)
    numbers, frequency = parts.numbers, parts.frequency
    if not parts.by_day and not any(name in numbers for name in ("BYYEARDAY", "BYMONTHDAY")):
        if frequency is Frequency.WEEKLY or "BYWEEKNO" in numbers:
            parts.by_day = ((0, start.weekday()),)
        elif frequency <= Frequency.MONTHLY:
            if frequency is Frequency.YEARLY:
                numbers.setdefault("BYMONTH", (start.month,))
            numbers["BYMONTHDAY"] = (start.day,)
    if frequency < Frequency.HOURLY:
        numbers.setdefault("BYHOUR", (second // 3600,))
    if frequency < Frequency.MINUTELY:
        numbers.setdefault("BYMINUTE", (second // 60 % 60,))
    if frequency < Frequency.SECONDLY:
        numbers.setdefault("BYSECOND", (second % 60,))


class Rule:
    """The local times of one rule. Build it with ``parse``."""

    def __init__(self, parts: _Parts, start_local_s: int, until_local_s: int) -> None:
        """Raises RruleError."""
        self._parts = parts
        self._start_s = start_local_s
        self._last_s = until_local_s
        self._start_day = start_local_s // DAY_S
        start = date.fromordinal(self._start_day + _EPOCH_ORDINAL)
        self._start_year, self._start_month = start.year, start.year * 12 + start.month - 1
        self._start_week = self._start_day - (start.weekday() - parts.week_start) % 7
        self._filters: dict[tuple[int, bool, bool], int] = {}
        unit_s = _UNIT_S.get(parts.frequency, DAY_S)
        self._block_s, self._period_s = unit_s, unit_s * parts.interval
        self._same_times = parts.frequency <= Frequency.DAILY or DAY_S % self._period_s == 0
        self._times = self._allowed_times()
        if parts.frequency > Frequency.DAILY and self._same_times:
            self._times &= self._aligned_times(0)
        self._positions = parts.get("BYSETPOS")
        if self._positions and self._times.bit_count() > _MAX_SET_TIMES:
            raise RruleError(f"BYSETPOS goes with at most {_MAX_SET_TIMES} times a day")
        self._set_times = _bits(self._times) if self._positions else []

    @property
    def wildcard(self) -> bool:
        """Whether it counts hours, minutes or seconds, and so follows the wall clock when that changes."""
        return self._parts.frequency > Frequency.DAILY

    def next_local(self, local_s: int) -> int:
        """The first local time of the rule at or after ``local_s``; ``NEVER_S`` when there is none."""
        local_s = max(local_s, self._start_s)
        found = self._next_position(local_s) if self._positions else self._next_time(local_s)
        return found if found <= self._last_s else NEVER_S

    def end_at_count(self, count: int) -> None:
        """Let the rule end with its ``count``-th time. Raises RruleError: that lies too far away to be counted."""
        self._last_s = self._count_positions(count) if self._positions else self._count_times(count)

    def _count_positions(self, count: int) -> int:
        last_s = NEVER_S
        for chosen in self._sets_from(self._start_day):
            later = [at_s for at_s in chosen if at_s >= self._start_s]
            if len(later) >= count:
                return later[count - 1]
            count -= len(later)
            last_s = later[-1] if later else last_s
        return last_s

    def _count_times(self, count: int) -> int:
        last_s = NEVER_S
        for looked, day in enumerate(self._days_from(self._start_day)):
            if looked > _MAX_EMPTY_DAYS:
                raise RruleError(f"COUNT counts over more than {_MAX_EMPTY_DAYS:,} days; give UNTIL")
            times = self._times_on(day)
            if day == self._start_day:
                times &= _ALL_DAY << self._start_s % DAY_S
            number = times.bit_count()
            if number >= count:
                return day * DAY_S + _nth_bit(times, count)
            count -= number
            last_s = day * DAY_S + times.bit_length() - 1 if times else last_s
        return last_s

    # Times

    def _allowed_times(self) -> int:
        """The times of day that BYHOUR, BYMINUTE and BYSECOND let through; bit n is second n."""
        seconds = sum(1 << second for second in self._parts.get("BYSECOND") or range(60))
        minutes = sum(seconds << minute * 60 for minute in self._parts.get("BYMINUTE") or range(60))
        return sum(minutes << hour * 3600 for hour in self._parts.get("BYHOUR") or range(24))

    def _aligned_times(self, day: int) -> int:
        """The hours, minutes or seconds of a day that INTERVAL counts."""
        begin_s = self._start_s - self._start_s % self._block_s
        first_s = (begin_s - day * DAY_S) % self._period_s
        return (self._blocks << first_s) & _ALL_DAY if first_s < DAY_S else 0

    @cached_property
    def _blocks(self) -> int:
        return _repeat((1 << self._block_s) - 1, self._period_s, DAY_S)

    def _times_on(self, day: int) -> int:
        return self._times if self._same_times else self._times & self._aligned_times(day)

    def _next_time(self, local_s: int) -> int:
        if not self._times:
            return NEVER_S
        day, second = divmod(local_s, DAY_S)
        for looked, at in enumerate(self._days_from(day)):
            times = self._times_on(at) >> (second if at == day else 0)
            if times:
                return at * DAY_S + (second if at == day else 0) + _lowest_bit(times)
            if looked > _MAX_EMPTY_DAYS:
                break
        return NEVER_S

    # Days

    def _days_from(self, day: int) -> Iterator[int]:
        """The days of the rule at or after ``day``, in days since 1970-01-01."""
        year = date.fromordinal(day + _EPOCH_ORDINAL).year
        while year <= _LAST_YEAR:
            first_day = date(year, 1, 1).toordinal() - _EPOCH_ORDINAL
            days = self._days_of(year, first_day) >> max(0, day - first_day)
            at = max(first_day, day)
            while days:
                skipped = _lowest_bit(days)
                yield at + skipped
                days >>= skipped + 1
                at += skipped + 1
            year = self._next_year(year)

    def _next_year(self, year: int) -> int:
        """The next one that INTERVAL counts."""
        if self._parts.frequency is not Frequency.YEARLY:
            return year + 1
        return year + self._parts.interval - (year - self._start_year) % self._parts.interval

    def _days_of(self, year: int, first_day: int) -> int:
        """The days of a year; bit 0 is 1 January, which is ``first_day``."""
        frequency, interval = self._parts.frequency, self._parts.interval
        days = self._filter(year, first_day)
        if interval == 1 or frequency > Frequency.DAILY or not days:
            return days
        if frequency is Frequency.YEARLY:
            return days if (year - self._start_year) % interval == 0 else 0
        if frequency is Frequency.MONTHLY:
            return days & self._aligned_months(year)
        length, period = (7, 7 * interval) if frequency is Frequency.WEEKLY else (1, interval)
        begin = self._start_week if frequency is Frequency.WEEKLY else self._start_day
        first = (begin - first_day) % period - period
        if first + period >= _YEAR_DAYS:
            return days & ((1 << max(0, first + length)) - 1)
        return days & ((self._day_blocks << (first + period)) | ((1 << max(0, first + length)) - 1))

    @cached_property
    def _day_blocks(self) -> int:
        """The first days of every INTERVAL-th day or week; bit 0 is the first of them."""
        length = 7 if self._parts.frequency is Frequency.WEEKLY else 1
        return _repeat((1 << length) - 1, length * self._parts.interval, _YEAR_DAYS)

    def _aligned_months(self, year: int) -> int:
        lengths = _month_lengths(year)
        return sum(
            ((1 << lengths[month]) - 1) << sum(lengths[:month])
            for month in range(12)
            if (year * 12 + month - self._start_month) % self._parts.interval == 0
        )

    def _filter(self, year: int, first_day: int) -> int:
        """The days of a year that the BY parts let through."""
        key = ((first_day + 3) % 7, _is_leap(year), _is_leap(year - 1))
        if key not in self._filters:
            self._filters[key] = self._work_out_filter(year, key[0])
        return self._filters[key]

    def _work_out_filter(self, year: int, first_weekday: int) -> int:
        parts, lengths = self._parts, _month_lengths(year)
        months, month_days, year_days = (parts.get(name) for name in ("BYMONTH", "BYMONTHDAY", "BYYEARDAY"))
        weekdays = {weekday for nth, weekday in parts.by_day if not nth}
        nth_weekdays = self._nth_weekdays(lengths, first_weekday)
        weeks = _days_in_weeks(year, parts.get("BYWEEKNO"), parts.week_start) if "BYWEEKNO" in parts.numbers else None
        skipped = self._skipped_days(lengths) if parts.skip else set()
        days, at, total = 0, 0, sum(lengths)
        for month, length in enumerate(lengths, 1):
            for day in range(1, length + 1):
                if (
                    (
                        (
                            (not months or month in months)
                            and (not month_days or day in month_days or day - length - 1 in month_days)
                        )
                        or at in skipped
                    )
                    and (not year_days or at + 1 in year_days or at - total in year_days)
                    and (not parts.by_day or (first_weekday + at) % 7 in weekdays or at in nth_weekdays)
                    and (weeks is None or at in weeks)
                ):
                    days |= 1 << at
                at += 1
        return days

    def _skipped_days(self, lengths: list[int]) -> set[int]:
        """The days of the year that stand for those of BYMONTHDAY which their month does not have."""
        months = self._parts.get("BYMONTH") or range(1, 13)
        last = 0 if self._parts.skip is Skip.FORWARD else 1
        return {
            sum(lengths[:month]) - last
            for month in months
            if any(day > lengths[month - 1] for day in self._parts.get("BYMONTHDAY"))
        }

    def _nth_weekdays(self, lengths: list[int], first_weekday: int) -> set[int]:
        """The days of the year that such as 1MO and -1FR mean."""
        per_month = self._parts.frequency is Frequency.MONTHLY or "BYMONTH" in self._parts.numbers
        spans = [(sum(lengths[:month]), length) for month, length in enumerate(lengths)]
        found = set()
        for begin, length in spans if per_month else [(0, sum(lengths))]:
            for nth, weekday in self._parts.by_day:
                days = range(begin + (weekday - first_weekday - begin) % 7, begin + length, 7)
                if nth and -len(days) <= nth <= len(days):
                    found.add(days[nth - 1 if nth > 0 else nth])
        return found

    # Positions

    def _next_position(self, local_s: int) -> int:
        for chosen in self._sets_from(local_s // DAY_S):
            found_s = next((at_s for at_s in chosen if at_s >= local_s), None)
            if found_s is not None:
                return found_s
        return NEVER_S

    def _sets_from(self, day: int) -> Iterator[list[int]]:
        """What is chosen in each period from the one that holds ``day``, ascending; ends when nothing was for long."""
        days = self._days_from(self._period_begin(day))
        following = next(days, None)
        empty = 0
        while following is not None and empty < _MAX_EMPTY_PERIODS:
            end, inside = self._period_end(following), []
            while following is not None and following < end:
                inside.append(following)
                following = next(days, None)
            chosen = sorted(set(self._choose(inside)))
            empty = 0 if chosen else empty + 1
            yield chosen

    def _choose(self, days: list[int]) -> Iterator[int]:
        """The times of one period at the positions of BYSETPOS."""
        times = self._set_times
        total = len(days) * len(times)
        for position in self._positions:
            at = position - 1 if position > 0 else total + position
            if 0 <= at < total:
                yield days[at // len(times)] * DAY_S + times[at % len(times)]

    def _period_begin(self, day: int) -> int:
        frequency = self._parts.frequency
        on = date.fromordinal(day + _EPOCH_ORDINAL)
        if frequency is Frequency.YEARLY:
            return day - on.timetuple().tm_yday + 1
        if frequency is Frequency.MONTHLY:
            return day - on.day + 1
        return day - (on.weekday() - self._parts.week_start) % 7 if frequency is Frequency.WEEKLY else day

    def _period_end(self, day: int) -> int:
        """The day after the period that holds ``day``."""
        frequency, begin = self._parts.frequency, self._period_begin(day)
        on = date.fromordinal(day + _EPOCH_ORDINAL)
        if frequency is Frequency.YEARLY:
            return begin + 365 + _is_leap(on.year)
        if frequency is Frequency.MONTHLY:
            return begin + _month_lengths(on.year)[on.month - 1]
        return begin + (7 if frequency is Frequency.WEEKLY else 1)


_ALL_DAY = (1 << DAY_S) - 1


def _days_in_weeks(year: int, wanted: tuple[int, ...], week_start: int) -> set[int]:
    """The days of a year in weeks of these numbers; week 1 is the first with four days in its year, as in ISO 8601."""
    first = date(year, 1, 1).toordinal()
    begin = first - ((first - 1) % 7 - week_start) % 7
    days: set[int] = set()
    for at in range(begin, first + 365 + _is_leap(year), 7):
        # The fourth day of a week lies in the year that the week belongs to; 28 December in the last week of its year.
        middle = date.fromordinal(at + 3)
        last = date(middle.year, 12, 28).toordinal()
        number = (middle.timetuple().tm_yday - 1) // 7 + 1
        weeks = number + (last - at) // 7
        if number in wanted or number - weeks - 1 in wanted:
            days.update(day - first for day in range(at, at + 7))
    return days


def _month_lengths(year: int) -> list[int]:
    return [31, 28 + _is_leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _bits(number: int) -> list[int]:
    found, at = [], 0
    while number:
        skipped = _lowest_bit(number)
        at += skipped
        found.append(at)
        number >>= skipped + 1
        at += 1
    return found


def _repeat(block: int, period: int, length: int) -> int:
    """The block at 0, ``period``, 2 * ``period``, ... below ``length``."""
    while period < length:
        block |= block << period
        period *= 2
    return block & ((1 << length) - 1)


def _nth_bit(bits: int, n: int) -> int:
    """The position of the n-th bit that is set, from 1."""
    low, high = 0, bits.bit_length()
    while high - low > 1:
        middle = (low + high) // 2
        if (bits & ((1 << middle) - 1)).bit_count() < n:
            low = middle
        else:
            high = middle
    return low


def _lowest_bit(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
