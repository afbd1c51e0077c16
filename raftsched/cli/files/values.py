"""What the readers of files hand on: mappings that know their lines, and texts as they were written.

A file says ``NO``, ``0755`` or ``22:22``; what that means depends on the field that it is for, not on the file. So an
unquoted value stays the text that it is until a field asks for a number, a truth value or nothing. Where no field
decides, as within a JSON text, it is what the core schema of YAML 1.2 makes of it.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
TRUE_WORDS = frozenset(("true", "yes", "on"))
FALSE_WORDS = frozenset(("false", "no", "off"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_MOST_DIGITS = 400
"""Of a number: more than any field takes, and few enough to be read at once."""


class Scalar(str):
    """One value as it was written."""

    __slots__ = ("line", "plain")

    line: int
    """From 1; 0: not known."""
    plain: bool
    """Whether it stood there without quotation marks, and so may mean a number, a truth value or nothing."""

    def __new__(cls, text: str, line: int = 0, plain: bool = False) -> Scalar:
        """The text, with what is known of it."""
        made = super().__new__(cls, text)
        made.line, made.plain = line, plain
        return made

    @property
    def is_null(self) -> bool:
        """Whether it means nothing, where a text is not what is asked for."""
        return self.plain and self in NULLS


class Lines(dict[str, Any]):
    """A mapping that knows the line of each key, from 1."""

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line = line
        """Where it begins; 0: not known."""
        self.lines: dict[str, int] = {}


def line_of(value: object) -> int:
    """Where it was written; 0: not known."""
    line: int = getattr(value, "line", 0)
    return line


def integer(text: str) -> int:
    """The whole number that it says. Raises ValueError: it says none, or one that is read in several ways."""
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError(f"{text} is octal for some and decimal for others; write it without the zero in front, or 0o")
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    number = _decimal(text)
    if number != number.to_integral_value():
        raise ValueError(f"{text} is no whole number")
    return int(number)


def real(text: str) -> float:
    """The finite number that it says. Raises ValueError."""
    number = float(_decimal(text))
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def _decimal(text: str) -> Decimal:
    if not _FLOAT.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is no number")
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"the number has {len(text)} characters; at most {_MOST_DIGITS} are read")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:60]} is no number") from None
    if number and abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{text} is too large or too small")
    return number


def core(value: Any) -> Any:
    """What the core schema of YAML 1.2 makes of a value: for JSON texts, where no field says what is meant.

    Raises ValueError: a number that is read in several ways or that JSON does not have.
    """
    if isinstance(value, dict):
        return {str(key): core(each) for key, each in value.items()}
    if isinstance(value, list):
        return [core(each) for each in value]
    if not isinstance(value, str):
        if not isinstance(value, bool | int | float | None):
            raise ValueError(f"{value} is nothing that JSON has; put it in quotation marks")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"JSON has no {value}")
        return value
    return _core_plain(value) if isinstance(value, Scalar) and value.plain else str(value)


def _core_plain(text: Scalar) -> Any:
    if text.is_null:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text) or _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return integer(text)
    if _FLOAT.fullmatch(text):
        return real(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"JSON has no {text}; put it in quotation marks if the text is meant")
    return str(text)
