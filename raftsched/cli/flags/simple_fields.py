"""Options for the simple fields of a task, as the options of the protocol describe them."""

from __future__ import annotations

from dataclasses import make_dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from raftsched.cli.flags.actions import text_of
from raftsched.cli.session import duration
from raftsched.cli.show.output import enum_name
from raftsched.definitions.task_fields import TASK_FIELDS, TaskField

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from raftsched_client import Task

T = TypeVar("T")
_TYPES: dict[str, type] = {"integer": int, "text": str, "span": timedelta}
WITH_OPTION = tuple(field for field in TASK_FIELDS if field.help)
"""Fields that have an option."""


def with_simple_fields(group: type[T]) -> type[T]:
    """The dataclass of options, with one for each simple field behind its own."""
    fields: list[Any] = [(field.flag, _annotation(field), None) for field in WITH_OPTION]
    made: type[T] = make_dataclass(group.__name__, fields, bases=(group,), frozen=True)
    return made


def _annotation(field: TaskField) -> object:
    option = typer.Option(
        f"--{field.flag.replace('_', '-')}",
        metavar=field.metavar,
        min=field.min if field.kind == "integer" else None,
        max=field.max if field.kind == "integer" else None,
        parser=duration if field.kind == "span" else None,
        help=field.help,
        rich_help_panel=field.panel,
    )
    of = _choices(field) if field.kind == "enum" else _TYPES[field.kind]
    return Annotated[of | None, option]


def _choices(field: TaskField) -> type[StrEnum]:
    """Names as they are typed, such as ``cancel-running``."""
    members = {name: name.lower().replace("_", "-") for name, _ in field.values}
    return StrEnum(field.flag, members)  # type: ignore[return-value]  # mypy takes the call for that of a member


def apply_simple_fields(group: object, task: Task) -> list[str]:
    """Write what is given into the task; return the names of the fields that were written.

    What has no meaning with the new value of another field, and would be refused, is taken away.
    """
    given = [field for field in WITH_OPTION if getattr(group, field.flag) is not None]
    for field in given:
        _write(task, field, getattr(group, field.flag))
    names = {field.name for field in given}
    stale = [field for field in WITH_OPTION if field.name not in names and _is_stale(field, names, task)]
    for field in stale:
        task.ClearField(field.name)  # type: ignore[arg-type]  # the stub wants a literal
    return [field.name for field in (*given, *stale)]


def _is_stale(field: TaskField, given: set[str], task: Task) -> bool:
    if field.only is None or field.only[0] not in given:
        return False
    is_set = any(each.name == field.name for each, _ in task.ListFields())
    return is_set and enum_name(task, field.only[0]) not in field.only[1]


def _write(task: Task, field: TaskField, value: Any) -> None:
    if field.kind == "span":
        getattr(task, field.name).FromTimedelta(value)
    elif field.kind == "enum":
        setattr(task, field.name, _number(task.DESCRIPTOR.fields_by_name[field.name], value.name))
    elif field.multiline:
        setattr(task, field.name, text_of(f"--{field.flag}", value))
    else:
        setattr(task, field.name, value)


def _number(field: FieldDescriptor, short_name: str) -> int:
    assert field.enum_type is not None
    return next(value.number for value in field.enum_type.values if value.name.endswith(f"_{short_name}"))
