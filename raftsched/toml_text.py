"""Reads TOML as people write it, and finds the line of a key in it, which the library does not tell."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class TomlError(Exception):
    """The text is not TOML; the message says why."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line
        """From 1."""


def decode(data: bytes) -> str:
    """The text of a file, which is UTF-8 whatever the locale is, without a byte order mark. Raises TomlError."""
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        line = error.object[: error.start].count(b"\n") + 1
        raise TomlError(f"byte 0x{byte:02x} is not UTF-8", line) from None


def parse(text: str) -> dict[str, Any]:
    """What the text says. Raises TomlError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else text.rstrip("\n").count("\n") + 1
        raise TomlError(_PLACE.sub("", str(error)), line) from None
    except RecursionError:
        raise TomlError("is nested too deeply", 1) from None


def line_of_key(text: str, path: Sequence[str | int]) -> int:
    """The line in which the statement begins that first sets the value at the path; 0: there is none.

    A file that is cut between two statements is TOML too, and says what was set until there.
    """
    if not path or not _has(tomllib.loads(text), path):
        return 0
    lines = text.split("\n")
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        count, found = _first_whole(lines, middle, high, path)
        low, high = (low, middle) if found else (count + 1, high)
    return low


def _first_whole(lines: list[str], count: int, most: int, path: Sequence[str | int]) -> tuple[int, bool]:
    """How many lines from ``count`` on are TOML by themselves, and whether the path is set in them."""
    while True:
        try:
            return count, _has(tomllib.loads("\n".join(lines[:count])), path)
        except tomllib.TOMLDecodeError:
            if count >= most:
                return count, True
            count += 1


def _has(value: Any, path: Sequence[str | int]) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return False
        elif not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True


def written_key(key: str) -> str:
    """The key, in quotation marks if it needs them: names of nodes may have dots."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else written(key)


def written(value: object) -> str:
    """A value on one line, which ``parse`` reads again as it was: text, number, bool, list, or table of these."""
    if isinstance(value, dict):
        inner = ", ".join(f"{written(key)} = {written(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    # JSON's escapes are TOML's, but for DEL, which it leaves, and for characters behind U+FFFF, which it would halve.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
