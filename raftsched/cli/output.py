"""Prints messages of the API: as tables for people, as JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console, RenderableType
    from rich.table import Table

T = TypeVar("T")
Json: TypeAlias = dict[str, object]

# Wide enough for any row, so that what is piped is never folded.
_PIPE_WIDTH = 10_000


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


def console(*, stderr: bool = False) -> Console:
    """A terminal."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


def show(content: RenderableType) -> None:
    """Print tables and text: fitted to a terminal, else one line per row and no more blanks than needed."""
    from rich.console import Console

    if sys.stdout.isatty():
        console().print(content)
        return
    wide = Console(width=_PIPE_WIDTH, highlight=False, markup=False, color_system=None)
    with wide.capture() as capture:
        wide.print(content)
    for line in capture.get().splitlines():
        print(line.rstrip())


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table. Columns whose name ends in ``#`` hold numbers."""
    from rich.table import Table

    built = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        built.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in rows:
        built.add_row(*row)
    return built


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of rows that are there already."""
    show(table(columns, rows))


def print_rows(columns: Sequence[str], items: Iterable[T], row: Callable[[T], Sequence[str]]) -> None:
    """A table with one row per item."""
    show(table(columns, map(row, items)))


def note(text: str) -> None:
    """A remark for people, on standard error."""
    print(text, file=sys.stderr)


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
