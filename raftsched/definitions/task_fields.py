"""The fields of a task, as the options of the protocol describe them. Whoever asks needs no protobuf for it.

``task_fields.json`` is made of ``task.proto`` by scripts/generate-proto.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

Kind = Literal["boolean", "integer", "text", "enum", "span", "time", "many", "message"]


@dataclass(frozen=True)
class TaskField:
    """One field; ``raftsched/options/v1/field.proto`` says more of most of this."""

    name: str
    kind: Kind
    output: bool = False
    """Only the cluster sets it."""
    immutable: bool = False
    """Set when the task is created, and never again."""
    title: str = ""
    """What people call it; "" where nothing is derived from the options."""
    min: int | None = None
    """The smallest number, or time span in microseconds."""
    max: int | None = None
    max_bytes: int = 0
    """Of a text in UTF-8; 0: no bound."""
    max_characters: int = 0
    multiline: bool = False
    is_name: bool = False
    default: str | int | None = None
    """Short name of an enum value, or a time span in microseconds."""
    values: tuple[tuple[str, str], ...] = ()
    """Short names and titles of the values of an enum, the default one first."""
    only: tuple[str, tuple[str, ...]] | None = None
    """It has a meaning only while that field has one of these values."""
    help: str = ""
    """Of its option of the command line; "": it has none."""
    flag: str = ""
    metavar: str | None = None
    panel: str = ""
    section: str = ""
    hint: str = ""
    placeholder: str = ""
    input: str = ""


def _fields() -> tuple[TaskField, ...]:
    table = json.loads(files("raftsched.definitions").joinpath("task_fields.json").read_text(encoding="utf-8"))
    return tuple(TaskField(**{key: _frozen(value) for key, value in entry.items()}) for entry in table)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


TASK_FIELDS = _fields()
"""All of them, in the order of the protocol."""
