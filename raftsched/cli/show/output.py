"""Prints messages of the API as JSON or YAML for programs, and makes cells of their fields."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from raftsched_client import TaskWarning

_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

Json: TypeAlias = dict[str, object]
_AMBIGUOUS = re.compile(r"([-+]?(\.?[0-9][0-9_.]*)([eE][-+]?[0-9]+)?|0o[0-7]+|[yYnN])\Z")
"""Texts that only some readers of YAML take for numbers or truth values."""
_UNUSUAL = re.compile(r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Control characters, other line ends than newline, and byte order marks."""


class Format(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def to_json(message: Message) -> Json:
    """Protobuf's JSON mapping, in which fields with default values are there too.

    Only unset messages (times, durations) and unset optional fields are left out.
    """
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, always_print_fields_with_no_presence=True)


def print_document(document: Json, form: Format) -> None:
    """One JSON or YAML document."""
    if form is Format.YAML:
        sys.stdout.write(yaml_text(document))
    else:
        print(json.dumps(document, indent=2, ensure_ascii=_ascii_only()))


def print_message(message: Message, form: Format) -> None:
    """One message as a JSON or YAML document."""
    print_document(to_json(message), form)


def print_items(key: str, items: Iterable[Message], form: Format) -> None:
    """One document with the list ``key``, written item by item."""
    if form is Format.YAML:
        _print_yaml_items(key, items)
    else:
        _print_json_items(key, items)


def _print_json_items(key: str, items: Iterable[Message]) -> None:
    write = sys.stdout.write
    separator = "\n"
    write(f'{{\n  "{key}": [')
    for item in items:
        text = json.dumps(to_json(item), indent=2, ensure_ascii=_ascii_only())
        write(separator + "    " + text.replace("\n", "\n    "))
        separator = ",\n"
    write("]\n}\n" if separator == "\n" else "\n  ]\n}\n")


def _print_yaml_items(key: str, items: Iterable[Message]) -> None:
    first = True
    for item in items:
        sys.stdout.write((f"{key}:\n" if first else "") + yaml_text([to_json(item)]))
        first = False
    if first:
        sys.stdout.write(f"{key}: []\n")


def yaml_text(document: object) -> str:
    """YAML that readers of version 1.1 and of 1.2 understand alike: what either takes for no text is quoted."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # PyYAML folds some of these as if they were blanks, in any other style.
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, '"' if _UNUSUAL.search(value) else None)

    Dumper.add_representer(str, text)
    Dumper.add_implicit_resolver("raftsched:ambiguous", _AMBIGUOUS, list("+-.0123456789yYnN"))
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=not _ascii_only())


def _ascii_only() -> bool:
    """Whether standard output cannot take every character: JSON and YAML have escapes of their own."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"


def note(text: str) -> None:
    """A remark for people, on standard error."""
    print(text, file=sys.stderr)


def note_warnings(task: str, warnings: Iterable[TaskWarning]) -> None:
    """Say what may not be meant."""
    for warning in warnings:
        about = f"{task}: {warning.field}" if warning.field else task
        note(f"warning: {about}: {warning.description}")


def note_more(found: Iterator[Message], limit: int, advice: str) -> None:
    """Say so if there is more than the limit (0: none) let through."""
    if limit and next(found, None) is not None:
        note(f"there are more than {limit:,}; {advice}")


def enum_name(message: Message, field: str) -> str:
    """The name of an enum value without its prefix: ``ACTIVE`` for ``TASK_STATE_ACTIVE``."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    enum = descriptor.enum_type
    number: int = getattr(message, field)
    assert enum is not None
    if number not in enum.values_by_number:
        return str(number)
    prefix = "".join("_" + c if c.isupper() else c.upper() for c in enum.name).lstrip("_") + "_"
    return enum.values_by_number[number].name.removeprefix(prefix)


def pairs(mapping: Iterable[tuple[str, str]]) -> str:
    """Labels in one cell."""
    return ", ".join(f"{key}={value}" for key, value in sorted(mapping))


def one_line(text: str, limit: int | None = None) -> str:
    """Text for one cell, of at most ``limit`` characters, without what would do something to a terminal."""
    if not text.isprintable():
        text = "".join(" " if _is_control(character) else character for character in text)
    text = " ".join(text.split())
    return text if limit is None or len(text) <= limit else text[: limit - 3] + "..."


def _is_control(character: str) -> bool:
    """Whether it moves the cursor, changes colours, or turns the direction of what follows."""
    return unicodedata.category(character) in ("Cc", "Cs") or character in _BIDIRECTIONAL
