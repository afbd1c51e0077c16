"""Hashed values in cron expressions: numbers that follow from the name of the task, so that a herd spreads by itself.

``H`` and ``H(1-5)`` are those of Jenkins, ``~`` and ``0~30`` those of OpenBSD's crontab(5), which draws at random. Here
all of them are one function of the task's name, so that every node has the same number, now and after every restart:
``low + n % width``, where n is the first 8 bytes, big-endian, of the SHA-256 of the name, a zero byte, the name of the
field, a zero byte and the position in the list of the field, from 0.
"""

import hashlib
import re
from typing import NamedTuple


class _Range(NamedTuple):
    field: str
    low: int
    high: int
    """Of a hashed value without a range of its own. Day 28: later ones do not come in every month."""
    highest: int
    """That a range of its own may name."""


_RANGES = (
    _Range("second", 0, 59, 59),
    _Range("minute", 0, 59, 59),
    _Range("hour", 0, 23, 23),
    _Range("day of month", 1, 28, 31),
    _Range("month", 1, 12, 12),
    _Range("day of week", 0, 6, 7),
)
_HASHED = re.compile(r"(?:[hH](?:\((\d{1,2})-(\d{1,2})\))?|(\d{0,2})~(\d{0,2}))(?:/(\d{1,4}))?", re.ASCII)


def resolve(expression: str, name: str) -> str:
    """The expression with numbers in place of its hashed values. What is not well formed stays for ``parse`` to refuse.

    A value with a step, ``H/15``, becomes a range whose first value is hashed: ``7-59/15``.
    """
    if "~" not in expression and "h" not in expression.lower():
        return expression
    fields = re.findall(r"\S+", expression, re.ASCII)
    if len(fields) not in (5, 6):
        return expression
    ranges = _RANGES[-len(fields) :]
    resolved = [
        ",".join(_item(of, name, position, item) for position, item in enumerate(field.split(",")))
        for of, field in zip(ranges, fields, strict=True)
    ]
    return " ".join(resolved) if resolved != fields else expression


def _item(of: _Range, name: str, position: int, item: str) -> str:
    match = _HASHED.fullmatch(item)
    if match is None:
        return item
    low, high = (int(text) if text else default for text, default in _bounds(of, match))
    step = int(match[5] or 0)
    if not of.low <= low <= high <= of.highest or (match[5] and not step):
        return item
    width = high - low + 1
    first = low + _hash(name, of.field, position) % (min(step, width) if step else width)
    return f"{first}-{high}/{step}" if step and first + step <= high else str(first)


def _bounds(of: _Range, match: re.Match[str]) -> tuple[tuple[str | None, int], tuple[str | None, int]]:
    return (match[1] or match[3], of.low), (match[2] or match[4], of.high)


def _hash(name: str, field: str, position: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}\0{field}\0{position}".encode()).digest()[:8], "big")
