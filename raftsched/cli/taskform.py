"""Between tasks and what people write in files: protobuf's JSON mapping, made easier by what each field is.

Nothing here names a field of a task, so that every field that the protocol has can be written:

- keys in lowerCamelCase or snake_case;
- time spans as ``1h30m`` beside ``5400s``;
- values of enums in short, such as ``skip`` for ``MISFIRE_POLICY_SKIP``;
- JSON texts (``kwargsJson``, ...) as a mapping or list;
- bytes as ``{text: ...}`` or, from a file beside this one, ``{file: ...}``, beside base64;
- times as YAML and TOML know them, with an offset.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from raftsched.cli.times import parse_duration

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

_DURATION, _TIMESTAMP = "google.protobuf.Duration", "google.protobuf.Timestamp"
_JSON_SUFFIX = "_json"
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


class Lines(dict[str, Any]):
    """A mapping that knows the line of each key, from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


@dataclass
class FormError(Exception):
    """A value that is none for its field."""

    path: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def from_document(document: Mapping[str, Any], message: Message, directory: Path) -> None:
    """Fill the message from what was written. ``file`` references are relative to the directory. Raises FormError."""
    from google.protobuf.json_format import ParseDict, ParseError

    plain = _plain_message(document, cast("Descriptor", message.DESCRIPTOR), "", directory)
    try:
        ParseDict(plain, message)
    except ParseError as error:
        raise FormError("", str(error)) from error


def to_document(message: Message) -> dict[str, Any]:
    """What one would write to have this message; fields with default values are left out."""
    from google.protobuf.json_format import MessageToDict

    found: dict[str, Any] = _friendly_message(MessageToDict(message), cast("Descriptor", message.DESCRIPTOR))
    return found


# From what was written to protobuf's JSON mapping


def _plain_message(value: Any, descriptor: Descriptor, path: str, directory: Path) -> Any:
    if descriptor.full_name in (_DURATION, _TIMESTAMP):
        return _plain_time(value, descriptor, path)
    if not isinstance(value, Mapping):
        raise FormError(path, f"must be a mapping, not {_shown(value)}")
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    plain = {}
    for key, inner in value.items():
        field = fields.get(key)
        line = getattr(value, "lines", {}).get(key, 0)
        if field is None:
            known = ", ".join(field.json_name for field in descriptor.fields)
            raise FormError(path, f"there is no key {key!r}; known are {known}", line)
        try:
            plain[field.json_name] = _plain_field(inner, field, f"{path}.{key}" if path else key, directory)
        except FormError as error:
            error.line = error.line or line
            raise
    return plain


def _plain_field(value: Any, field: FieldDescriptor, path: str, directory: Path) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if not isinstance(value, Mapping):
            raise FormError(path, f"must be a mapping, not {_shown(value)}")
        inner = field.message_type.fields_by_name["value"]
        return {_text(key): _plain_value(each, inner, f"{path}.{key}", directory) for key, each in value.items()}
    if field.is_repeated:
        if not isinstance(value, list):
            raise FormError(path, f"must be a list, not {_shown(value)}")
        return [_plain_value(each, field, f"{path}[{number}]", directory) for number, each in enumerate(value)]
    return _plain_value(value, field, path, directory)


def _plain_value(value: Any, field: FieldDescriptor, path: str, directory: Path) -> Any:
    if field.message_type is not None:
        return _plain_message(value, field.message_type, path, directory)
    if field.enum_type is not None:
        return _plain_enum(value, field.enum_type, path)
    if field.type == field.TYPE_BYTES and isinstance(value, Mapping):
        return _plain_bytes(value, path, directory)
    if field.type == field.TYPE_STRING:
        if field.name.endswith(_JSON_SUFFIX) and isinstance(value, Mapping | list):
            return json.dumps(value)
        return _text(value)
    return value


def _plain_enum(value: Any, enum: EnumDescriptor, path: str) -> Any:
    prefix = _prefix(enum)
    word = re.sub("[- ]", "_", _text(value)).upper()
    for name in (word, prefix + word):
        if name in enum.values_by_name:
            return name
    known = ", ".join(each.name.removeprefix(prefix).lower() for each in enum.values if each.number)
    raise FormError(path, f"{_shown(value)} is none of {known}")


def _plain_time(value: Any, descriptor: Descriptor, path: str) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FormError(path, f"{value} has no offset; add one such as Z or +01:00")
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}s"
    if descriptor.full_name == _TIMESTAMP:
        return str(value)
    try:
        return f"{parse_duration(_text(value)).total_seconds():.6f}s"
    except ValueError as error:
        raise FormError(path, str(error)) from None


def _plain_bytes(value: Mapping[str, Any], path: str, directory: Path) -> str:
    if set(value) == {"text"}:
        return base64.b64encode(_text(value["text"]).encode()).decode()
    if set(value) == {"file"}:
        try:
            return base64.b64encode((directory / _text(value["file"])).read_bytes()).decode()
        except OSError as error:
            raise FormError(path, f"cannot read {value['file']}: {error.strerror}") from None
    raise FormError(path, "must be base64, {text: ...} or {file: ...}")


def _text(value: Any) -> Any:
    """YAML reads ``8080`` and ``true`` as other things where a text is meant."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _shown(value: Any) -> str:
    return repr(value)[:60]


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
    try:
        read = json.loads(value)
    except ValueError:
        return value
    # Only what comes out the same again.
    return read if isinstance(read, dict | list) and json.dumps(read) == value else value


def _prefix(enum: EnumDescriptor) -> str:
    """What its values have in common in front: ``MISFIRE_POLICY_``."""
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", enum.name).upper() + "_"
