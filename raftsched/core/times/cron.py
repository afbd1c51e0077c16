"""Cron expressions: what they match, and the walk from one matching time to the next.

croniter reads the fields; their meaning is that of Debian's cron, crontab(5) and cron(8):

- Day of month and day of week: when one of the two fields begins with ``*``, a day must match both; otherwise a day
  that matches either is enough.
- A job whose minute or hour field begins with ``*`` is a wildcard job, every other is a fixed-time job. They differ
  when the clock changes; see ``wall_clock``.

In addition to crontab(5): a sixth field, for seconds, in front; as day of month ``L`` (the last day), ``15W`` (the
weekday nearest to the 15th) and ``LW`` (the last weekday), which are Quartz's; ``L5`` (the last Friday) and ``5#2``
(the second Friday) as day of week; ``?`` for ``*`` in the day fields; a step after a single value (``5/15``: from 5 to
the end); ranges that wrap (``fri-mon``). Hashed values are numbers by then; see ``cron_hash``.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from croniter import CroniterError, croniter

from raftsched.core.times.wall_clock import NEVER_S
from raftsched.core.times.zone import DAY_S

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_EXPRESSION_CHARS = 512

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - _EPOCH_ORDINAL - 1
# 29 February on a given weekday comes at least every 40 years.
_SEARCH_MONTHS = 41 * 12
_MONTH_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


class CronError(ValueError):
    """The expression is not valid; the message says which field, and what it may be."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a field may hold."""

    name: str
    low: int
    high: int
    allowed: str
    names: Mapping[str, int]
    """Includes the letter L, where the field knows it."""


_DAY, _DAY_OF_WEEK = 2, 4
FIELDS = (
    Field("minute", 0, 59, "0 to 59", {}),
    Field("hour", 0, 23, "0 to 23", {}),
    Field("day of month", 1, 31, "1 to 31, L, 15W or LW", {"l": 31}),
    Field("month", 1, 12, "1 to 12 or jan to dec", _MONTHS),
    Field("day of week", 0, 6, "0 to 7 or sun to sat (0 and 7 are Sunday), 5#2 or L5", {**_WEEKDAYS, "l": -1}),
    Field("second", 0, 59, "0 to 59", {}),
)
"""In the order of ``split``."""
_SUNDAY, _SATURDAY = 0, 6


class _Values(NamedTuple):
    """What one field matches."""

    numbers: tuple[int, ...]
    is_full: bool
    last: bool
    """Of the day of month: the last day too."""
    nearest: tuple[int, ...]
    """Of the day of month: the weekdays nearest to these days too; 0: to the last day."""
    nth: tuple[tuple[int, int], ...]
    """Of the day of week: weekday, and which one of the month; 0: the last. Then there are no numbers."""


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A parsed expression. Build it with ``parse``."""

    wildcard: bool
    """Whether it is a wildcard job rather than a fixed-time job; see cron(8)."""
    minutes: "array[int]"
    """Minutes of the day, ascending."""
    seconds: tuple[int, ...]
    months: frozenset[int]
    every_day: bool
    days: int
    """Bit n: day n of the month."""
    last_day: bool
    nearest_weekdays: tuple[int, ...]
    """Days of the month to whose nearest weekday (Monday to Friday, of the same month) it applies; 0: the last day."""
    weekdays: tuple[int, ...]
    """For each weekday of the first of the month (0 is Sunday), the days of the month that match, as bits."""
    nth_weekdays: tuple[tuple[int, int], ...]
    """Weekday, and which one of the month; 0: the last."""
    either: bool
    """Whether a day of month or a day of week is enough."""

    def next_local(self, local_s: int) -> int:
        """The first matching local time at or after ``local_s``; ``NEVER_S`` when there is none within 41 years."""
        day, second = divmod(local_s, DAY_S)
        found = self._next_day(day)
        if found == day:
            time_s = self._next_time(second)
            if time_s < DAY_S:
                return day * DAY_S + time_s
            found = self._next_day(day + 1)
        return found * DAY_S + self.minutes[0] * 60 + self.seconds[0] if found <= _LAST_DAY else NEVER_S

    def _next_time(self, second: int) -> int:
        """The first matching second of a day at or after ``second``; DAY_S when there is none."""
        minute, second = divmod(second, 60)
        at = bisect_left(self.minutes, minute)
        if at < len(self.minutes) and self.minutes[at] == minute:
            if second <= self.seconds[-1]:
                return minute * 60 + self.seconds[bisect_left(self.seconds, second)]
            at += 1
        return self.minutes[at] * 60 + self.seconds[0] if at < len(self.minutes) else DAY_S

    def _next_day(self, day: int) -> int:
        """The first matching day at or after ``day``, in days since 1970-01-01; beyond ``_LAST_DAY`` if none."""
        if self.every_day or day > _LAST_DAY:
            return day
        start = date.fromordinal(day + _EPOCH_ORDINAL)
        year, month = start.year, start.month
        rest = self._days_of(year, month) >> start.day
        if rest:
            return day + _lowest_bit(rest)
        for _ in range(_SEARCH_MONTHS):
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if year > date.max.year:
                break
            days = self._days_of(year, month)
            if days:
                return date(year, month, 1).toordinal() - _EPOCH_ORDINAL + _lowest_bit(days) - 1
        return _LAST_DAY + 1

    def _days_of(self, year: int, month: int) -> int:
        """The matching days of a month; bit n is day n."""
        if month not in self.months:
            return 0
        leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        length = _MONTH_DAYS[month] + leap
        first = date(year, month, 1).toordinal() % 7  # 0 is Sunday
        by_day = self.days | (self.last_day << length)
        for day in self.nearest_weekdays:
            by_day |= 1 << _nearest_weekday(first, length, day or length)
        by_weekday = self.weekdays[first]
        for weekday, nth in self.nth_weekdays:
            by_weekday |= 1 << _nth_weekday(first, length, weekday, nth)
        days = by_day | by_weekday if self.either else by_day & by_weekday
        return days & ((2 << length) - 2)


@lru_cache(maxsize=4096)
def parse(expression: str) -> CronExpression:
    """Parse five fields, six fields (seconds first) or an alias. Raises CronError."""
    texts = split(expression)
    minute, hour, day, month, weekday, second = (_read(at, text) for at, text in enumerate(texts))
    any_day, any_weekday = (texts[at].startswith(("*", "?")) for at in (_DAY, _DAY_OF_WEEK))
    return CronExpression(
        wildcard=texts[0].startswith("*") or texts[1].startswith("*"),
        minutes=array("H", (h * 60 + m for h in hour.numbers for m in minute.numbers)),
        seconds=second.numbers,
        months=frozenset(month.numbers),
        every_day=day.is_full and weekday.is_full and month.is_full and any_day and any_weekday,
        days=sum(1 << number for number in day.numbers),
        last_day=day.last,
        nearest_weekdays=day.nearest,
        weekdays=tuple(_weekday_bits(first, weekday.numbers) for first in range(7)),
        nth_weekdays=weekday.nth,
        either=not (any_day or any_weekday),
    )


def split(expression: str) -> list[str]:
    """The fields in lower case: minute, hour, day of month, month, day of week, second. Raises CronError."""
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise CronError(f"the expression has {len(expression)} characters; at most {MAX_EXPRESSION_CHARS} are allowed")
    text = expression.strip().lower()
    if text.startswith("@"):
        text = _resolve_alias(text)
    fields = re.findall(r"\S+", text, re.ASCII)
    if len(fields) == 5:
        return [*fields, "0"]
    if len(fields) == 6:
        return [*fields[1:], fields[0]]
    raise CronError(
        f"{expression!r} has {len(fields)} fields; give five (minute, hour, day of month, month, day of week), "
        "six (second first), or an alias such as @daily"
    )


def _resolve_alias(alias: str) -> str:
    if alias == "@reboot":
        raise CronError("@reboot is not supported: a cluster has no moment at which it boots")
    if alias.startswith("@every"):
        raise CronError("@every is not supported in a cron expression; use an interval schedule")
    if alias not in ALIASES:
        raise CronError(f"unknown alias {alias!r}; known are {', '.join(ALIASES)}")
    return ALIASES[alias]


@lru_cache(maxsize=4096)
def _read(at: int, text: str) -> _Values:
    """The values of one field. Kept, because expressions share fields and croniter takes 0.2 ms. Raises CronError."""
    field = FIELDS[at]
    if at == _DAY and "w" in text:
        return _read_nearest(text)
    tidy = _tidy(field, text)
    # With the sixth field, croniter does not take 7 for Sunday.
    alone = ["*"] * max(at + 1, len(FIELDS) - 1)
    alone[at] = tidy
    try:
        values, nth = croniter.expand(" ".join(alone))
    except CroniterError:
        raise _invalid(field, text) from None
    pairs = sorted((int(weekday), int(n) if str(n).isdecimal() else 0) for weekday, of in nth.items() for n in of)
    if pairs:
        return _Values((), False, False, (), tuple(pairs))
    if "*" in values[at]:
        return _Values(tuple(range(field.low, field.high + 1)), True, False, (), ())
    numbers = tuple(sorted(value for value in values[at] if isinstance(value, int)))
    return _Values(numbers, False, "l" in values[at], (), ())


def _read_nearest(text: str) -> _Values:
    """The values of a day of month field with items such as 15w and lw."""
    items = text.split(",")
    marked = [item for item in items if item.endswith("w")]
    others = [item for item in items if item not in marked]
    days = [
        0 if item == "lw" else int(item[:-1]) if re.fullmatch(r"\d{1,2}w", item, re.ASCII) else -1 for item in marked
    ]
    if any(day < 0 or day > 31 or (day == 0 and item != "lw") for day, item in zip(days, marked, strict=True)):
        raise _invalid(FIELDS[_DAY], text)
    rest = _read(_DAY, ",".join(others)) if others else _Values((), False, False, (), ())
    return rest._replace(nearest=tuple(sorted(days)))


def _tidy(field: Field, text: str) -> str:
    """Refuse what croniter would read otherwise than cron does.

    Ranges of one value are rewritten as that value, for croniter takes them for the whole field, and ``5/15`` as the
    range that it stands for.
    """
    unknown = [word for word in re.findall("[a-z]+", text) if word not in field.names]
    if unknown or not re.fullmatch(r"[\w*,/#?-]+", text, re.ASCII):
        raise _invalid(field, text)
    items = text.split(",")
    special = sum("#" in item or bool(re.fullmatch(r"l\d", item)) for item in items)
    if special not in (0, len(items)):
        raise CronError(f"{field.name} field {text!r}: # and L<weekday> cannot be mixed with other values")
    return ",".join(_tidy_range(field, text, item) for item in items)


def _tidy_range(field: Field, text: str, item: str) -> str:
    if stepped := re.fullmatch(r"(\w+)(/\w+)", item):
        # The end of the days of the week is 7, which is Sunday too.
        high = 7 if field is FIELDS[_DAY_OF_WEEK] else field.high
        item = f"{stepped[1]}-{high}{stepped[2]}"
    match = re.fullmatch(r"(\w+)-(\w+)(/\w+)?", item)
    if match is None:
        return item
    low, high = (int(word) if word.isdecimal() else field.names.get(word, -1) for word in match.group(1, 2))
    if low == high or (field is FIELDS[_DAY_OF_WEEK] and (low, high) == (7, 0)):
        return match[1]
    if low > high and match[3]:
        raise CronError(f"{field.name} field {text!r}: a range that wraps around cannot have a step; list the values")
    return item


def _invalid(field: Field, text: str) -> CronError:
    return CronError(
        f"{field.name} field {text!r} is not valid; "
        f"allowed are {field.allowed}, *, lists (1,2), ranges (1-5), steps (*/5) and hashed values (H, H(1-5), 1~5)"
    )


@lru_cache(maxsize=4096)
def _weekday_bits(first: int, weekdays: tuple[int, ...]) -> int:
    return sum(1 << day for day in range(1, 32) if (first + day - 1) % 7 in weekdays)


def _nth_weekday(first: int, length: int, weekday: int, nth: int) -> int:
    """The day of the month; 0 when the month has no nth such weekday."""
    day = 1 + (weekday - first) % 7
    if nth == 0:
        return day + (length - day) // 7 * 7
    day += 7 * (nth - 1)
    return day if day <= length else 0


def _nearest_weekday(first: int, length: int, day: int) -> int:
    """The day of the month from Monday to Friday that is nearest to ``day``; 0 when the month has no such day."""
    if day > length:
        return 0
    weekday = (first + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def _lowest_bit(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
