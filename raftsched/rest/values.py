"""Checks of JSON values against the fields that they are for: protobuf's JSON mapping, in its strict form.

What protobuf's own parser accepts beside that (numbers as strings, enums as numbers, null, any text as base64) is
refused with the path of the field. 64-bit integers may be numbers or strings, as the mapping writes them as strings.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from raftsched.definitions.fields import quoted
from raftsched.definitions.violations import Violation
from raftsched.rest.routes import message_of

_F = FieldDescriptor
_RANGES = {_F.TYPE_INT32: (-(2**31), 2**31 - 1), _F.TYPE_INT64: (-(2**63), 2**63 - 1)}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
DURATION = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"
FIELD_MASK = r"^[A-Za-z_.]*(,[A-Za-z_.]+)*$"

Found = Iterator[Violation]


def check_message(descriptor: Descriptor, value: object, path: str = "") -> Found:
    """What is wrong with a JSON value for a message."""
    if not isinstance(value, dict):
        yield Violation(path or "body", "must be a JSON object")
        return
    seen: dict[str, str] = {}
    for key, item in value.items():
        field = field_of(descriptor, key)
        where = f"{path}.{key}" if path else key
        if field is None:
            yield Violation(_short(where), f"there is no such field; there are {_names(descriptor)}")
            continue
        group = field.name if field.containing_oneof is None or _optional(field) else field.containing_oneof.full_name
        if group in seen:
            yield Violation(_short(where), f"may not be given together with {seen[group]}")
        seen[group] = key
        yield from _check_field(field, item, where)


def field_of(descriptor: Descriptor, key: str) -> FieldDescriptor | None:
    """The field that a JSON key names: its JSON name or its name in the protocol."""
    return descriptor.fields_by_camelcase_name.get(key) or descriptor.fields_by_name.get(key)


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _optional(field: FieldDescriptor) -> bool:
    oneof = field.containing_oneof
    return oneof is not None and len(oneof.fields) == 1


def _short(path: str) -> str:
    return path if len(path) <= 120 and path.isascii() else quoted(path)


def _names(descriptor: Descriptor) -> str:
    return ", ".join(field.json_name for field in descriptor.fields) or "none"


def _check_field(field: FieldDescriptor, value: object, path: str) -> Found:
    if is_map(field):
        if not isinstance(value, dict):
            yield Violation(path, "must be a JSON object")
            return
        of_value = message_of(field).fields_by_name["value"]
        for key, item in value.items():
            yield from _string(key, f"a key of {path}")
            yield from _check_value(of_value, item, _short(f"{path}.{key}"))
    elif field.is_repeated:
        if not isinstance(value, list):
            yield Violation(path, "must be a JSON array")
            return
        for number, item in enumerate(value):
            yield from _check_value(field, item, f"{path}[{number}]")
    else:
        yield from _check_value(field, value, path)


def _check_value(field: FieldDescriptor, value: object, path: str) -> Found:
    if value is None:
        yield Violation(path, "is null; leave the field out instead")
    elif field.message_type is not None:
        text = _TEXTS.get(field.message_type.full_name)
        yield from text(value, path) if text else check_message(field.message_type, value, path)
    elif field.enum_type is not None:
        names = field.enum_type.values_by_name
        # The mapping of the descriptor cannot be asked for half of a surrogate pair.
        if not isinstance(value, str) or not value.isascii() or value not in names:
            yield Violation(path, f"must be one of {', '.join(names)}")
    elif field.type in _RANGES:
        yield from _integer(value, path, field)
    elif field.type == _F.TYPE_BOOL:
        if not isinstance(value, bool):
            yield Violation(path, "must be true or false")
    elif field.type == _F.TYPE_BYTES:
        yield from _base64(value, path)
    else:
        assert field.type == _F.TYPE_STRING, f"{field.full_name} is of a type that REST does not know"
        yield from _string(value, path)


def _integer(value: object, path: str, field: FieldDescriptor) -> Found:
    low, high = _RANGES[field.type]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and field.type == _F.TYPE_INT64 and _INTEGER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        yield Violation(path, f"must be an integer from {low} to {high}")


def _string(value: object, path: str) -> Found:
    if not isinstance(value, str):
        yield Violation(path, "must be a string")
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        yield Violation(path, "holds half of a surrogate pair, which is no character")


def _base64(value: object, path: str) -> Found:
    try:
        assert isinstance(value, str)
        base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (AssertionError, binascii.Error, ValueError):
        yield Violation(path, "must be a string of base64 (RFC 4648), padded with =")


def _timestamp(value: object, path: str) -> Found:
    if not _reads(TIMESTAMP, Timestamp().FromJsonString, value):
        yield Violation(path, "must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z")


def _duration(value: object, path: str) -> Found:
    if not _reads(DURATION, Duration().FromJsonString, value):
        yield Violation(path, 'must be seconds, such as "90s" or "0.5s"')


def _field_mask(value: object, path: str) -> Found:
    if not isinstance(value, str) or len(value) > 1000 or not re.match(FIELD_MASK, value):
        yield Violation(path, "must be names of fields, separated by commas")


def _reads(pattern: str, read: Callable[[str], object], value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
        return False
    try:
        read(value)
    except ValueError:
        return False
    return True


_TEXTS: dict[str, Callable[[object, str], Found]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
}
"""Messages that JSON writes as a string."""
