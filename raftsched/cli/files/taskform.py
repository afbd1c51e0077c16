"""Between tasks and what people write in files: protobuf's JSON mapping, made easier by what each field is.

Nothing here names a field of a task, so that every field that the protocol has can be written:

- keys in lowerCamelCase or snake_case;
- a text is what was written, with or without quotation marks (``NO``, ``0755``, ``22:22``);
- time spans as ``1h30m`` beside ``5400s``;
- values of enums in short, such as ``skip`` for ``MISFIRE_POLICY_SKIP``;
- JSON texts (``kwargsJson``, ...) as a mapping or list;
- bytes as ``{text: ...}`` or, from a file beside this one, ``{file: ...}``, beside base64;
- times as YAML and TOML know them, with an offset.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from raftsched.cli.files.values import FALSE_WORDS, TRUE_WORDS, Scalar, core, integer, line_of, real
from raftsched.cli.times import parse_duration

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

FieldPath: TypeAlias = tuple[str | int, ...]
_DURATION, _TIMESTAMP = "google.protobuf.Duration", "google.protobuf.Timestamp"
_JSON_SUFFIX = "_json"
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


@dataclass
class FormError(Exception):
    """A value that is none for its field."""

    path: FieldPath
    """Keys and positions, from the task."""
    message: str
    line: int = 0
    """From 1; 0: not known."""
    key: str = ""
    """One that is too much at the path."""

    def __str__(self) -> str:
        return f"{shown_path(self.path)}: {self.message}" if self.path else self.message


def shown_path(path: FieldPath) -> str:
    """As one writes it: ``action.command.argv[2]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def from_document(document: Mapping[str, Any], message: Message, directory: Path) -> None:
    """Fill the message from what was written. ``file`` references are relative to the directory. Raises FormError."""
    from google.protobuf.json_format import ParseDict, ParseError

    plain = _plain_message(document, cast("Descriptor", message.DESCRIPTOR), (), directory)
    try:
        ParseDict(plain, message)
    except ParseError as error:
        raise FormError((), str(error), line_of(document)) from error


def to_document(message: Message) -> dict[str, Any]:
    """What one would write to have this message; fields with default values are left out."""
    from google.protobuf.json_format import MessageToDict

    found: dict[str, Any] = _friendly_message(MessageToDict(message), cast("Descriptor", message.DESCRIPTOR))
    return found


# From what was written to protobuf's JSON mapping


def _plain_message(value: Any, descriptor: Descriptor, path: FieldPath, directory: Path) -> Any:
    if descriptor.full_name == _DURATION:
        return _plain_duration(value, path)
    if descriptor.full_name == _TIMESTAMP:
        return _plain_time(value, path)
    if not isinstance(value, Mapping):
        raise FormError(path, f"must be a mapping, not {_shown(value)}", line_of(value))
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    plain: dict[str, Any] = {}
    alternatives: dict[str, str] = {}
    for key, inner in value.items():
        field = fields.get(key)
        line = getattr(value, "lines", {}).get(key, 0)
        if field is None:
            known = ", ".join(field.json_name for field in descriptor.fields)
            raise FormError(path, f"there is no key {key!r}; known are {known}", line, key)
        if field.json_name in plain:
            raise FormError((*path, key), "is there twice, in two spellings", line)
        if _is_nothing(inner, field):
            continue
        if (oneof := field.containing_oneof) is not None and (other := alternatives.setdefault(oneof.name, key)) != key:
            raise FormError((*path, key), f"cannot stand beside {other}: one of them is meant", line)
        try:
            plain[field.json_name] = _plain_field(inner, field, (*path, key), directory)
        except FormError as error:
            error.line = error.line or line
            raise
    return plain


def _is_nothing(value: Any, field: FieldDescriptor) -> bool:
    """Whether it leaves the field as it is without it. Where a text is meant, ``~`` and ``null`` are texts."""
    if value is None:
        return True
    text = field.type == field.TYPE_STRING and not field.is_repeated
    return isinstance(value, Scalar) and value.is_null and not text


def _plain_field(value: Any, field: FieldDescriptor, path: FieldPath, directory: Path) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if not isinstance(value, Mapping):
            raise FormError(path, f"must be a mapping, not {_shown(value)}", line_of(value))
        lines = getattr(value, "lines", {})
        inner = field.message_type.fields_by_name["value"]
        plain = {}
        for key, each in value.items():
            try:
                plain[_text(key, path)] = _plain_value(each, inner, (*path, key), directory)
            except FormError as error:
                error.line = error.line or lines.get(key, 0)
                raise
        return plain
    if field.is_repeated:
        if not isinstance(value, list):
            raise FormError(path, f"must be a list, not {_shown(value)}", line_of(value))
        return [_plain_value(each, field, (*path, number), directory) for number, each in enumerate(value)]
    return _plain_value(value, field, path, directory)


def _plain_value(value: Any, field: FieldDescriptor, path: FieldPath, directory: Path) -> Any:
    if field.message_type is not None:
        return _plain_message(value, field.message_type, path, directory)
    if field.enum_type is not None:
        return _plain_enum(value, field.enum_type, path)
    if field.type == field.TYPE_BYTES:
        return _plain_bytes(value, path, directory)
    if field.type == field.TYPE_STRING:
        return _plain_text(value, field, path)
    if field.type == field.TYPE_BOOL:
        return _plain_bool(value, path)
    return _plain_number(value, field, path)


def _plain_text(value: Any, field: FieldDescriptor, path: FieldPath) -> str:
    if field.name.endswith(_JSON_SUFFIX) and isinstance(value, Mapping | list):
        try:
            return json.dumps(core(value), allow_nan=False)
        except ValueError as error:
            raise FormError(path, str(error)) from None
    return _text(value, path)


def _plain_bool(value: Any, path: FieldPath) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise FormError(path, f"must be true or false, not {_shown(value)}", line_of(value))


def _plain_number(value: Any, field: FieldDescriptor, path: FieldPath) -> int | float:
    whole = field.cpp_type not in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FormError(path, f"must be a number, not {_shown(value)}", line_of(value))
    try:
        number = integer(str(value)) if whole else real(str(value))
    except ValueError as error:
        raise FormError(path, str(error), line_of(value)) from None
    unsigned = field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64)
    bits = 64 if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 32
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if whole and not low <= number <= high:
        raise FormError(path, f"{_shown(value)} is not within {low} to {high}", line_of(value))
    return number


def _plain_enum(value: Any, enum: EnumDescriptor, path: FieldPath) -> Any:
    prefix = _prefix(enum)
    word = re.sub("[- ]", "_", str(value)).upper()
    for name in (word, prefix + word):
        if name in enum.values_by_name:
            return name
    known = ", ".join(each.name.removeprefix(prefix).lower() for each in enum.values if each.number)
    raise FormError(path, f"{_shown(value)} is none of {known}", line_of(value))


def _plain_duration(value: Any, path: FieldPath) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}s"
    try:
        return f"{parse_duration(str(value)).total_seconds():.6f}s"
    except ValueError as error:
        raise FormError(path, str(error), line_of(value)) from None


def _plain_time(value: Any, path: FieldPath) -> str:
    from google.protobuf.timestamp_pb2 import Timestamp

    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FormError(path, f"{value} has no offset; add one such as Z or +01:00")
        return value.isoformat()
    if isinstance(value, str):
        try:
            Timestamp().FromJsonString(value)
        except ValueError:
            pass
        else:
            return str(value)
    message = f"{_shown(value)} is no time; write 2026-01-31T09:00:00+01:00"
    raise FormError(path, message, line_of(value))


def _plain_bytes(value: Any, path: FieldPath, directory: Path) -> str:
    if isinstance(value, Mapping) and set(value) == {"text"}:
        return base64.b64encode(_text(value["text"], (*path, "text")).encode()).decode()
    if isinstance(value, Mapping) and set(value) == {"file"}:
        name = _text(value["file"], (*path, "file"))
        try:
            return base64.b64encode((directory / name).read_bytes()).decode()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise FormError(path, f"cannot read {name}: {reason}", line_of(value)) from None
    if isinstance(value, str):
        try:
            return base64.b64encode(base64.b64decode(value, validate=True)).decode()
        except (binascii.Error, ValueError):
            pass
    raise FormError(path, f"must be base64, {{text: ...}} or {{file: ...}}, not {_shown(value)}", line_of(value))


def _text(value: Any, path: FieldPath) -> str:
    """The text as it was written. Raises FormError: what was written is none, and could be written in several ways."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        kind = "nothing (null)" if value is None else _shown(value)
        advice = "; put it in quotation marks" if isinstance(value, int | float | date | time) else ""
        raise FormError(path, f"must be a text, not {kind}{advice}", line_of(value))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FormError(path, "holds half of a character (a lone surrogate)", line_of(value)) from None
    return str(value)


def _shown(value: Any) -> str:
    if isinstance(value, date | time):
        return str(value)
    return repr(str(value) if isinstance(value, str) else value)[:60]


# From protobuf's JSON mapping to what one would write


def _friendly_message(value: Any, descriptor: Descriptor) -> Any:
    if descriptor.full_name == _DURATION:
        return _friendly_duration(value)
    if descriptor.full_name == _TIMESTAMP:
        return value
    fields = {field.json_name: field for field in descriptor.fields}
    return {key: _friendly_field(inner, fields[key]) for key, inner in value.items()}


def _friendly_field(value: Any, field: FieldDescriptor) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(sorted(value.items()))
    if field.is_repeated:
        return [_friendly_value(each, field) for each in value]
    return _friendly_value(value, field)


def _friendly_value(value: Any, field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return _friendly_message(value, field.message_type)
    if field.enum_type is not None:
        return value.removeprefix(_prefix(field.enum_type)).lower()
    if field.type == field.TYPE_BYTES:
        return _friendly_bytes(value)
    if field.type in (field.TYPE_INT64, field.TYPE_UINT64):
        return int(value)
    if field.type == field.TYPE_STRING and field.name.endswith(_JSON_SUFFIX):
        return _friendly_json(value)
    return value


def _friendly_duration(value: str) -> str:
    seconds = value.removesuffix("s")
    if not seconds.isdecimal():
        return value
    rest, parts = int(seconds), ""
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        parts += f"{count}{unit}" if count else ""
    return parts + (f"{rest}s" if rest or not parts else "")


def _friendly_bytes(value: str) -> Any:
    try:
        text = base64.b64decode(value).decode()
    except UnicodeDecodeError:
        return value
    return {"text": text} if text.isprintable() or text.replace("\n", "").isprintable() else value


def _friendly_json(value: str) -> Any:
    """As a mapping or list, if that comes out the same again."""
    try:
        read = json.loads(value)
        same = isinstance(read, dict | list) and json.dumps(read, allow_nan=False) == value and _is_shallow(read, 50)
    except (ValueError, RecursionError):
        return value
    return read if same else value


def _is_shallow(value: Any, depth: int) -> bool:
    """And whether each number in it is one that files can say."""
    if isinstance(value, dict | list):
        return depth > 0 and all(
            _is_shallow(each, depth - 1) for each in (value.values() if isinstance(value, dict) else value)
        )
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 10**300


def _prefix(enum: EnumDescriptor) -> str:
    """What its values have in common in front: ``MISFIRE_POLICY_``."""
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", enum.name).upper() + "_"
