"""Checks of single fields of a task, as the options of the protocol describe them."""

from collections.abc import Callable
from typing import Any
from unicodedata import category

from google.protobuf.descriptor import FieldDescriptor
from raftsched_proto.v1 import task_pb2

from raftsched.definitions.fields import check_duration, check_enum, check_name, check_number, check_time
from raftsched.definitions.task_fields import TASK_FIELDS, TaskField
from raftsched.definitions.violations import Violations

_LINE_CHARACTERS = "\t\n\r"
_DESCRIPTORS = task_pb2.Task.DESCRIPTOR.fields_by_name

Check = Callable[[Violations, Any], None]


def check_simple_fields(violations: Violations, task: task_pb2.Task) -> None:
    """Note what is out of bounds, and write the defaults out. What goes with what is not looked at."""
    for name, has_presence, default, check in _SIMPLE:
        # A message that is not set is false too, but so is one of 0 seconds.
        is_set = task.HasField(name) if has_presence else getattr(task, name)  # type: ignore[arg-type]  # wants a literal
        if not is_set and not default:
            continue
        if not is_set and has_presence:
            getattr(task, name).FromMicroseconds(default)
        elif not is_set:
            setattr(task, name, default)
        check(violations, getattr(task, name))


def _default(field: TaskField, descriptor: FieldDescriptor) -> int:
    """Number of an enum value, or microseconds; 0: there is none."""
    if isinstance(field.default, int):
        return field.default
    named = descriptor.enum_type.values_by_name if descriptor.enum_type else {}
    return next((value.number for name, value in named.items() if name.endswith(f"_{field.default}")), 0)


def _check_of(field: TaskField, descriptor: FieldDescriptor) -> Check:
    path, low, high = f"task.{field.name}", field.min or 0, field.max or 0
    match field.kind:
        case "integer":
            return lambda violations, value: check_number(violations, path, value, low, high)
        case "span":
            return lambda violations, value: check_duration(violations, path, value, low, high)
        case "time":
            return lambda violations, value: check_time(violations, path, value)
        case "enum":
            assert descriptor.enum_type is not None
            known = frozenset(descriptor.enum_type.values_by_number) - {0}
            return lambda violations, value: check_enum(violations, path, value, known)
        case "text" if field.is_name:
            return lambda violations, value: check_name(violations, path, value)
    return lambda violations, value: _check_text(violations, path, value, field)


def _check_text(violations: Violations, path: str, text: str, field: TaskField) -> None:
    if field.max_bytes and (size := len(text.encode())) > field.max_bytes:
        violations.add(path, f"has {size} bytes; at most {field.max_bytes} are allowed")
    elif field.max_characters and len(text) > field.max_characters:
        violations.add(path, f"has {len(text)} characters; at most {field.max_characters} are allowed")
    elif field.multiline and any(category(each) == "Cc" for each in text if each not in _LINE_CHARACTERS):
        violations.add(path, "has control characters other than tabs and line ends")
    elif not field.multiline and not text.isprintable():
        violations.add(path, "has characters that are not printable")


def _simple(field: TaskField) -> tuple[str, bool, int, Check]:
    descriptor = _DESCRIPTORS[field.name]
    return field.name, descriptor.has_presence, _default(field, descriptor), _check_of(field, descriptor)


_SIMPLE = tuple(_simple(field) for field in TASK_FIELDS if field.title and field.kind != "boolean")
