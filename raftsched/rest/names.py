"""Texts of the API as the caller of REST knows its fields: in JSON names, and headers where fields are headers."""

import re
from collections.abc import Iterator
from functools import cache

from google.protobuf.descriptor import Descriptor

from raftsched.rest.routes import SERVICES

_HEADERS = {"request_id": "Idempotency-Key"}
_QUOTED_OR_NAME = re.compile(r"""'[^']*'|"[^"]*"|\b[a-z]+(?:_[a-z0-9]+)+\b(?![.:/=-]\w)""")


def json_name(name: str) -> str:
    """``time_limit`` as ``timeLimit``."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def in_json_names(text: str) -> str:
    """The text with the names of fields as JSON has them. What it quotes, such as what the caller sent, stays."""
    return _QUOTED_OR_NAME.sub(lambda found: _renamed(found[0]), text)


def _renamed(word: str) -> str:
    return _HEADERS.get(word, json_name(word)) if word in _fields() else word


@cache
def _fields() -> frozenset[str]:
    """Names of the fields of all messages that callers send or get."""
    names: set[str] = set()
    seen: set[str] = set()
    for service in SERVICES:
        for method in service.methods:
            for message in (method.input_type, method.output_type):
                names.update(_within(message, seen))
    return frozenset(names)


def _within(message: Descriptor, seen: set[str]) -> Iterator[str]:
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field.name
        if field.message_type is not None:
            yield from _within(field.message_type, seen)
