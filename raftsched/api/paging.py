"""Pages of rows: opaque tokens, and a bound on the work of one call."""

import asyncio
import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, TypeVar

from google.protobuf.message import Message

from raftsched.api.door.errors import invalid_field

MAX_SCANNED_ROWS = 10_000
"""Rows that one call looks at; a filter that matches few of them gives a short page and a token."""
MAX_PAGE_BYTES = 2 << 20
"""Clients refuse messages above 4 MiB unless told otherwise."""
_ROWS_PER_TURN = 200
_VERSION = 1
_DIGEST_BYTES = 8
_MAX_KEY_BYTES = 511
_NO_FILTERS = ("page_size", "page_token", "consistency")

T = TypeVar("T", bound=Message)


@dataclass(slots=True)
class Page(Generic[T]):
    """Some rows, and the key of the last row that was looked at (empty: there are no more)."""

    items: list[T] = field(default_factory=list)
    last_key: bytes = b""


async def collect(rows: Iterable[tuple[bytes, T | None]], limit: int) -> Page[T]:
    """Take up to ``limit`` messages; None stands for a row that the filter leaves out.

    Lets other work of the process go on now and then, so the rows must stay readable meanwhile.
    """
    page: Page[T] = Page()
    size = 0
    for scanned, (key, message) in enumerate(rows):
        if len(page.items) >= limit or scanned >= MAX_SCANNED_ROWS or size >= MAX_PAGE_BYTES:
            return page
        if message is not None:
            page.items.append(message)
            size += message.ByteSize()
        page.last_key = key
        if scanned % _ROWS_PER_TURN == _ROWS_PER_TURN - 1:
            await asyncio.sleep(0)
    page.last_key = b""
    return page


def encode_token(request: Message, last_key: bytes) -> str:
    """The token with which the same request goes on after ``last_key``; empty when there is nothing more."""
    if not last_key:
        return ""
    return base64.urlsafe_b64encode(bytes((_VERSION,)) + _digest(request) + last_key).decode().rstrip("=")


def decode_token(request: Message, token: str) -> bytes:
    """The key after which to go on; empty: from the beginning.

    Raises ApiError (INVALID_ARGUMENT) when the token does not belong to a request with these filters.
    """
    if not token:
        return b""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    digest, last_key = raw[1 : 1 + _DIGEST_BYTES], raw[1 + _DIGEST_BYTES :]
    if raw[:1] != bytes((_VERSION,)) or digest != _digest(request) or not 0 < len(last_key) <= _MAX_KEY_BYTES:
        raise invalid_field("page_token", "is not from the last response to a request with the same filters")
    return last_key


def _digest(request: Message) -> bytes:
    filters = type(request)()
    filters.CopyFrom(request)
    for name in _NO_FILTERS:
        if name in filters.DESCRIPTOR.fields_by_name:
            filters.ClearField(name)
    kind = type(request).__name__.encode()
    return blake2b(kind + filters.SerializeToString(deterministic=True), digest_size=_DIGEST_BYTES).digest()


def page_size(value: int, default: int, largest: int) -> int:
    """How many rows a page may have. Raises ApiError when it is negative; more than the largest means the largest."""
    if value < 0:
        raise invalid_field("page_size", "must not be negative")
    return min(value or default, largest)
