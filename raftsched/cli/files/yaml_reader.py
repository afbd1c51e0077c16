"""Reads YAML from its events, so that texts stay as they were written, and neither depth nor aliases have any effect.

PyYAML's own loaders follow YAML 1.1 (``NO`` is false, ``22:22`` is 1342, ``010`` is 8) and end the process when a file
is nested deeply; its events know nothing of either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raftsched.cli.failures import Failure, usage
from raftsched.cli.files.text import at_line
from raftsched.cli.files.values import Lines, Scalar

MAX_DEPTH = 100
"""How deeply values may be nested."""
MAX_REPEATED_VALUES = 200_000
"""How many values aliases may repeat in one file, all of them together."""
_TAG = "tag:yaml.org,2002:"
_TYPED_TAGS = frozenset(_TAG + name for name in ("bool", "int", "float", "null"))
_TEXT_TAGS = frozenset(("!", _TAG + "str", _TAG + "binary", _TAG + "timestamp"))
_MERGE = "<<"


def read_yaml(file: str, text: str) -> list[Any]:
    """The documents of the file: ``Lines``, lists and ``Scalar``. Raises Failure, with the line."""
    import yaml

    try:
        return _YamlReader(file, yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, (error.context, error.problem)))
        if "'\\t'" in what or (mark and "\t" in _line(text, mark.line)[: mark.column + 1]):
            what += "; YAML allows no tabs in front of a key"
        raise usage(f"{at_line(file, mark.line + 1 if mark else 0)}: is not YAML: {what}") from error
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise usage(f"{at_line(file, line)}: is not YAML: character #x{error.character:04x}: {error.reason}") from error


def _line(text: str, number: int) -> str:
    lines = text.split("\n", number + 1)
    return lines[number] if number < len(lines) else ""


class _YamlReader:
    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self._file = file
        self._events = events
        self._anchors: dict[str, tuple[Any, int]] = {}
        """Values that aliases may repeat, and how many values each holds."""
        self._repeated = 0

    def documents(self) -> list[Any]:
        found = []
        for event in self._events:
            if type(event).__name__ == "DocumentStartEvent":
                self._anchors = {}
                found.append(self._value(next(self._events), 0)[0])
        return found

    def _value(self, event: Any, depth: int) -> tuple[Any, int]:
        """The value that begins with the event, and how many values it holds."""
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._refusal(event, f"values are nested more than {MAX_DEPTH} deep")
        if event.anchor:
            # Until it is complete, an alias to it is one within itself.
            self._anchors.pop(event.anchor, None)
        value: Any
        if kind == "ScalarEvent":
            value, size = self._scalar(event), 1
        elif kind == "SequenceStartEvent":
            value, size = self._sequence(event, depth)
        else:
            value, size = self._mapping(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = value, size
        return value, size

    def _alias(self, event: Any) -> tuple[Any, int]:
        if event.anchor not in self._anchors:
            raise self._refusal(event, f"there is no complete value &{event.anchor} above *{event.anchor}")
        value, size = self._anchors[event.anchor]
        self._repeated += size
        if self._repeated > MAX_REPEATED_VALUES:
            raise self._refusal(event, f"aliases repeat more than {MAX_REPEATED_VALUES:,} values")
        return value, size

    def _scalar(self, event: Any) -> Scalar:
        plain = event.implicit[0] or event.tag in _TYPED_TAGS
        if event.tag and event.tag not in _TYPED_TAGS | _TEXT_TAGS and not event.implicit[0]:
            raise self._refusal(event, f"the tag {event.tag} is not known; leave it out")
        text = event.value if event.tag != _TAG + "binary" else "".join(event.value.split())
        return Scalar(text, event.start_mark.line + 1, plain)

    def _sequence(self, event: Any, depth: int) -> tuple[list[Any], int]:
        self._check_tag(event, "seq")
        found, size = [], 1
        while type(inner := next(self._events)).__name__ != "SequenceEndEvent":
            value, count = self._value(inner, depth + 1)
            found.append(value)
            size += count
        return found, size

    def _mapping(self, event: Any, depth: int) -> tuple[Lines, int]:
        self._check_tag(event, "map")
        found, merged, size = Lines(event.start_mark.line + 1), [], 1
        while type(inner := next(self._events)).__name__ != "MappingEndEvent":
            key, _ = self._value(inner, depth + 1)
            if not isinstance(key, Scalar):
                raise self._refusal(inner, "a key must be a text")
            value, count = self._value(next(self._events), depth + 1)
            size += count + 1
            if key == _MERGE and key.plain:
                merged += self._mappings(inner, value)
            elif key in found:
                raise self._refusal(inner, f"the key {str(key)!r} is there twice, first in line {found.lines[key]}")
            else:
                found[str(key)] = value
                found.lines[str(key)] = inner.start_mark.line + 1
        # What stands here goes before what is merged, and of that, what comes first.
        for other in merged:
            for name in other.keys() - found.keys():
                found[name], found.lines[name] = other[name], other.lines.get(name, 0)
        return found, size

    def _mappings(self, event: Any, value: Any) -> list[Lines]:
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(each, Lines) for each in several):
            raise self._refusal(event, "<< takes a mapping, or a list of mappings")
        return several

    def _check_tag(self, event: Any, own: str) -> None:
        if event.tag and event.tag not in ("!", _TAG + own):
            raise self._refusal(event, f"the tag {event.tag} is not known; leave it out")

    def _refusal(self, event: Any, message: str) -> Failure:
        return usage(f"{at_line(self._file, event.start_mark.line + 1)}: {message}")
