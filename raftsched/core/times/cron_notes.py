"""What a valid expression does that its writer may not have meant: remarks for previews, new tasks and imports.

They say what the expression is taken for, as in Vixie cron and cronie, and never refuse it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from raftsched.core.times.cron import ALIASES, FIELDS, CronError, split
from raftsched.core.times.cron_hash import resolve

_ITEM = re.compile(
    r"(?:(?P<star>\*)|(?P<hash>h(?:\((?P<h1>\d+)-(?P<h2>\d+)\))?|(?P<t1>\d*)~(?P<t2>\d*))"
    r"|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?"
)
_MINUTE, _HOUR, _DAY, _MONTH, _DAY_OF_WEEK, _SECOND = range(6)
_CYCLES = {_SECOND: 60, _MINUTE: 60, _HOUR: 24, _MONTH: 12, _DAY_OF_WEEK: 7}
_UNITS = {_SECOND: "second", _MINUTE: "minute", _HOUR: "hour", _MONTH: "month", _DAY_OF_WEEK: "day"}
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_LATE_MONTH_DAYS = re.compile(r"FREQ=MONTHLY\b.*\bBYMONTHDAY=((?:29|30|31)(?:,(?:29|30|31))*)(?:;|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Item:
    """One item of the list of a field."""

    text: str
    low: int
    high: int
    step: int
    """0: none was written."""
    whole: bool
    """``*``, or another way to write the whole field."""
    hashed: bool
    single: bool
    """A value without an end: a step goes on to that of the field."""


@lru_cache(maxsize=4096)
def notes(expression: str) -> tuple[str, ...]:
    """Remarks on a cron expression; none on one that cannot be read. It may hold hashed values."""
    try:
        texts = split(expression)
    except CronError:
        return ()
    if expression.strip().lower() in ALIASES:
        return ()
    found = []
    for at in (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _DAY_OF_WEEK):
        for text in texts[at].split(","):
            if item := _item(at, text):
                found += _of_item(at, item, texts)
    return (*found, *_every(texts, expression), *_days(texts))


@lru_cache(maxsize=4096)
def _item(at: int, text: str) -> _Item | None:
    field = FIELDS[at]
    match = _ITEM.fullmatch(text)
    if match is None:
        return None
    hashed = match["hash"] is not None
    bounds = (match["h1"] or match["t1"], match["h2"] or match["t2"]) if hashed else (match["low"], match["high"])
    single = not hashed and not match["star"] and match["high"] is None
    low, high = (
        default if not word else int(word) if word.isdecimal() else field.names.get(word, -1)
        for word, default in zip(bounds, (field.low, field.high), strict=True)
    )
    if low < 0 or high < 0:
        return None
    whole = bool(match["star"]) or (hashed and not any(bounds))
    step = int(match["step"] or 0)
    if single:
        high = low if not step else 7 if at == _DAY_OF_WEEK else high
    return _Item(text, low, high, step, whole, hashed, single)


def _of_item(at: int, item: _Item, texts: list[str]) -> list[str]:
    if item.low > item.high:
        rounds = f"{item.low} to {FIELDS[at].high} and {FIELDS[at].low} to {item.high}"
        return [f"{_name(at, item)} wraps around: {rounds}; Vixie cron refuses such a range"]
    if item.step <= 1 and not (item.step and at == _DAY_OF_WEEK and item.single):
        return []
    if 1 < item.step > item.high - item.low or (at == _DAY_OF_WEEK and item.step == 7):
        left = "one value" if item.hashed else f"{item.low}"
        return [
            f"{_name(at, item)}: a step of {item.step} is longer than {item.low} to {item.high}: only {left} is left"
        ]
    if at == _DAY_OF_WEEK and item.single and item.low and (7 - item.low) % item.step == 0:
        return [f"{_name(at, item)} goes on to 7, which is Sunday too"]
    return _uneven(at, item, texts)


def _uneven(at: int, item: _Item, texts: list[str]) -> list[str]:
    """Whether the last gap before the field begins again is another one."""
    if not (item.whole or item.single) or item.step == 1 or _is_alone(at, texts):
        return []
    if at == _DAY:
        return [f"{_name(at, item)} begins anew with each month: the last step of a month is another one"]
    cycle = _CYCLES[at]
    last = item.low + (item.high - item.low) // item.step * item.step
    gap = item.low + cycle - last
    if gap == item.step or (item.hashed and cycle % item.step == 0):
        return []
    if item.hashed:
        return [f"{_name(at, item)}: {cycle} is no multiple of {item.step}: the last gap of each round is another one"]
    later = f"{gap} {_UNITS[at]}{'' if gap == 1 else 's'} later and not {item.step}"
    return [f"{_name(at, item)}: after {last} comes {item.low}, {later}"]


def _is_alone(at: int, texts: list[str]) -> bool:
    """Whether the round of a field does not follow on another one, as when the next field is one number."""
    following = {_SECOND: _MINUTE, _MINUTE: _HOUR}.get(at)
    return following is not None and texts[following].isdecimal()


def _every(texts: list[str], expression: str) -> list[str]:
    if len(expression.split()) == 6 and texts[_SECOND] == "*":
        return ["six fields, so the first is the second: fires every second of the minutes that match"]
    if texts[_MINUTE] == "*" and not any(sign in texts[_HOUR] for sign in "*/?"):
        return ["minute field '*': fires every minute of the hours that match; for once an hour write 0"]
    return []


def _days(texts: list[str]) -> list[str]:
    day, weekday = texts[_DAY], texts[_DAY_OF_WEEK]
    any_day, any_weekday = day in ("*", "?"), weekday in ("*", "?")
    if not any_day and not any_weekday:
        if day.startswith(("*", "?")) or weekday.startswith(("*", "?")):
            return ["fires on days that match both the day of month and the day of week, as one of them begins with *"]
        return ["fires on days that match the day of month, and on days that match the day of week: either is enough"]
    return _late_days(day, texts[_MONTH]) if any_weekday else []


def _late_days(day: str, month: str) -> list[str]:
    """Months without these days."""
    items = [_item(_DAY, text) for text in day.split(",")]
    if "l" in day or any(item is None or item.whole or item.hashed for item in items):
        return []
    first = min(item.low for item in items if item)
    if first == 29 and month in ("2", "feb"):
        return ["fires in leap years only"]
    months = _months(month)
    without = [_MONTH_NAMES[number - 1] for number in months if _MONTH_DAYS[number - 1] < first]
    if without:
        return [f"does not fire in {_and(without)}, for lack of a day {first}; for the last day of each month write L"]
    return ["fires in February of leap years only"] if first == 29 and 2 in months else []


def _months(text: str) -> list[int]:
    found: set[int] = set()
    for item in (_item(_MONTH, each) for each in resolve(f"0 0 1 {text} *", "").split()[3].split(",")):
        if item is None:
            return []
        found.update(range(item.low, item.high + 1, item.step or 1))
    return sorted(number for number in found if 1 <= number <= 12)


def rrule_notes(lines: str) -> tuple[str, ...]:
    """Remarks on a recurrence rule."""
    match = _LATE_MONTH_DAYS.search(lines.upper())
    if match is None:
        return ()
    first = min(map(int, match[1].split(",")))
    return (f"does not fire in months without a day {first} (RFC 5545); BYMONTHDAY=-1 is the last day of each month",)


def _name(at: int, item: _Item) -> str:
    return f"{FIELDS[at].name} field {item.text!r}"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
