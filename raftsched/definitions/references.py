"""References to secrets in the texts of an action: ``${secret:NAME}``.

The value is put in by the executor that runs the attempt, so that it is neither in the log nor in any table.
``$${secret:NAME}`` stands for the text ``${secret:NAME}`` itself.
"""

import json
import re
from collections.abc import Callable, Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_REFERENCE = re.compile(r"(\$?)\$\{secret:([^}]*)\}?")
_WHOLE = re.compile(rf"\$\{{secret:({NAME_PATTERN})\}}")
_MARK = "${secret:"
_JSON_SUFFIX = "_json"

Lookup = Callable[[str], str]


def malformed(text: str) -> str:
    """The first reference of the text that names no secret, or ""."""
    for found in _REFERENCE.finditer(text):
        if not found[1] and not _WHOLE.fullmatch(found[0]):
            return found[0]
    return ""


def replace(text: str, lookup: Lookup) -> str:
    """The text with each reference replaced by what ``lookup`` gives for its name. What is malformed stays."""

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        whole = _WHOLE.fullmatch(found[0])
        return lookup(whole[1]) if whole else found[0]

    return _REFERENCE.sub(value, text) if _MARK in text else text


def texts(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Each text within the message, with the path of its field; bytes that are no UTF-8 are none."""
    for field, value in message.ListFields():
        where = f"{path}.{field.name}" if path else field.name
        for part in _parts(field, value):
            if isinstance(part, Message):
                yield from texts(part, where)
            elif (text := _decoded(part)) is not None:
                yield where, text


def resolve(message: Message, lookup: Lookup) -> None:
    """Replace the references in all texts within the message, those in map values too.

    In a field of JSON text (``..._json``) the value is escaped as a JSON string is, without the quotes.
    """
    for field, value in message.ListFields():
        escaped = _escaping(lookup) if field.name.endswith(_JSON_SUFFIX) else lookup
        if _is_map(field):
            for key in [key for key in value if isinstance(value[key], str)]:
                value[key] = replace(value[key], escaped)
        elif field.is_repeated:
            for number, part in enumerate(value):
                if isinstance(part, Message):
                    resolve(part, lookup)
                else:
                    value[number] = _replaced(part, escaped)
        elif isinstance(value, Message):
            resolve(value, lookup)
        else:
            setattr(message, field.name, _replaced(value, escaped))


def _replaced(value: object, lookup: Lookup) -> object:
    text = _decoded(value)
    if text is None or _MARK not in text:
        return value
    replaced = replace(text, lookup)
    return replaced.encode() if isinstance(value, bytes) else replaced


def _escaping(lookup: Lookup) -> Lookup:
    return lambda name: json.dumps(lookup(name))[1:-1]


def _parts(field: FieldDescriptor, value: object) -> Iterator[object]:
    if _is_map(field):
        yield from value.values()  # type: ignore[attr-defined]  # what ListFields gives for a map
    elif field.is_repeated:
        yield from value  # type: ignore[misc]  # what ListFields gives for a repeated field
    else:
        yield value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _decoded(value: object) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None
