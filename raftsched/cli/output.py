"""Prints messages of the API as JSON or YAML for programs, and makes cells of their fields."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from google.protobuf.message import Message

Json: TypeAlias = dict[str, object]


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
        sys.stdout.write(_yaml(document))
    else:
        print(json.dumps(document, indent=2, ensure_ascii=False))


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
        text = json.dumps(to_json(item), indent=2, ensure_ascii=False)
        write(separator + "    " + text.replace("\n", "\n    "))
        separator = ",\n"
    write("]\n}\n" if separator == "\n" else "\n  ]\n}\n")


def _print_yaml_items(key: str, items: Iterable[Message]) -> None:
    first = True
    for item in items:
        sys.stdout.write((f"{key}:\n" if first else "") + _yaml([to_json(item)]))
        first = False
    if first:
        sys.stdout.write(f"{key}: []\n")


def _yaml(document: object) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def note(text: str) -> None:
    """A remark for people, on standard error."""
    print(text, file=sys.stderr)


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


def one_line(text: str, limit: int = 60) -> str:
    """Text for one cell."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
