"""Reads JSON with the lines of its keys, numbers as they were written, and no key twice."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed does not know it
from json.scanner import py_make_scanner  # type: ignore[attr-defined]  # typeshed does not know it
from typing import Any

from raftsched.cli.failures import usage
from raftsched.cli.files.text import at_line
from raftsched.cli.files.values import Lines, Scalar

_BLANKS = re.compile(r"[ \t\n\r]*")


def read_json(file: str, text: str) -> Any:
    """The value: ``Lines``, lists, texts, ``Scalar`` for numbers, bool and None. Raises Failure, with the line."""
    try:
        return parse_json(text)
    except JSONDecodeError as error:
        raise usage(f"{at_line(file, error.lineno)}: is not JSON: {error.msg} (column {error.colno})") from error
    except RecursionError:
        raise usage(f"{file} is nested too deeply") from None


def parse_json(text: str) -> Any:
    """As ``read_json``. Raises JSONDecodeError, RecursionError."""
    return _Decoder(text).decode(text)


class _Decoder(json.JSONDecoder):
    def __init__(self, text: str) -> None:
        super().__init__(parse_float=_number, parse_int=_number, parse_constant=self._constant)
        self._text = text
        self._newlines = [at for at, character in enumerate(text) if character == "\n"]
        self.parse_object = self._object
        # The scanner in C would not ask for objects here.
        self.scan_once = py_make_scanner(self)

    def _constant(self, word: str) -> Any:
        raise JSONDecodeError(f"JSON has no {word}", self._text, max(self._text.find(word), 0))

    def _line(self, at: int) -> int:
        return bisect_left(self._newlines, at) + 1

    def _object(self, start: tuple[str, int], *arguments: Any) -> tuple[Lines, int]:
        """As ``json.decoder.JSONObject``, which gives keys without their places."""
        text, at = start
        scan_once = arguments[1]
        found = Lines(self._line(at))
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        while True:
            if text[at : at + 1] != '"':
                raise JSONDecodeError("Expecting a key in double quotation marks", text, at)
            line = self._line(at)
            key, end = scanstring(text, at + 1, True)
            if key in found:
                raise JSONDecodeError(f"the key {key!r} is there twice, first in line {found.lines[key]}", text, at)
            at = _skip(text, end)
            if text[at : at + 1] != ":":
                raise JSONDecodeError("Expecting ':'", text, at)
            at = _skip(text, at + 1)
            try:
                value, at = scan_once(text, at)
            except StopIteration as stopped:
                raise JSONDecodeError("Expecting a value", text, stopped.value) from None
            found[key] = Scalar(value, line) if type(value) is str else value
            if isinstance(value, Scalar):
                value.line = line
            found.lines[key] = line
            at = _skip(text, at)
            end, at = at, _skip(text, at + 1)
            if text[end : end + 1] == "}":
                return found, end + 1
            if text[end : end + 1] != ",":
                raise JSONDecodeError("Expecting ',' or '}'", text, end)


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    assert blanks
    return blanks.end()


def _number(text: str) -> Scalar:
    return Scalar(text, plain=True)
