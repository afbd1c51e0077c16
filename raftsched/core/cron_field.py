"""Reads the items of one field of a cron expression, by crontab(5) and the additions that ``cron`` lists."""

import re
from collections.abc import Iterable, Mapping

_ITEM = re.compile(r"(?P<low>\*|\w+)(-(?P<high>\w+))?(/(?P<step>\d{1,4}))?", re.ASCII)
_NTH = re.compile(r"(?P<day>\w+)#(?P<nth>[1-5])|l(?P<last>\d)", re.ASCII)
_SUNDAY = 7
"""As the last day of the week; 0 is Sunday too."""


def numbers(items: Iterable[str], low: int, high: int, names: Mapping[str, int]) -> set[int]:
    """What items such as ``1``, ``fri``, ``*/5``, ``5/15``, ``1-5/2`` and ``fri-mon`` stand for.

    Of a field from 0 to 6, which is the day of week, 7 is 0 too. Raises ValueError.
    """
    found: set[int] = set()
    for item in items:
        found.update(_item(item, low, high, names))
    return found


def nth_weekdays(items: Iterable[str], names: Mapping[str, int]) -> list[tuple[int, int]]:
    """What items such as ``5#2`` and ``l5`` stand for: the weekday, and which one of the month; 0: the last.

    Raises ValueError.
    """
    found = []
    for item in items:
        match = _NTH.fullmatch(item)
        if match is None:
            raise ValueError(item)
        day = match["last"] or match["day"]
        found.append((_number(day, 0, _SUNDAY, names) % _SUNDAY, int(match["nth"] or 0)))
    return sorted(set(found))


def _item(item: str, low: int, high: int, names: Mapping[str, int]) -> Iterable[int]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(item)
    weekday = (low, high) == (0, _SUNDAY - 1)
    top = _SUNDAY if weekday else high
    step = int(match["step"] or 1)
    if not step:
        raise ValueError(item)
    if match["low"] == "*":
        if match["high"]:
            raise ValueError(item)
        return range(low, high + 1, step)
    first = _number(match["low"], low, top, names)
    end = high if match["step"] else first
    last = _number(match["high"], low, top, names) if match["high"] else end
    if weekday and first > last:
        first %= _SUNDAY
    whole = [*range(first, last + 1, step)] if first <= last else [*range(first, high + 1), *range(low, last + 1)]
    return [number % _SUNDAY for number in whole] if weekday else whole


def _number(word: str, low: int, high: int, names: Mapping[str, int]) -> int:
    number = int(word) if re.fullmatch(r"\d{1,4}", word, re.ASCII) else names.get(word, -1)
    if not low <= number <= high:
        raise ValueError(word)
    return number
