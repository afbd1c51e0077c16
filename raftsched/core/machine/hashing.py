"""One step of the comparison of the nodes' state tables: which rows are hashed, and how."""

import hashlib
import struct
from dataclasses import dataclass

from raftsched_proto.internal.v1 import check_pb2 as pb

from raftsched.ports import STATE_TABLES, Reader, Table

CHECKED_TABLES = tuple(table for table in STATE_TABLES if table is not Table.META)
"""META holds the applied index, which is that of the last entry of a batch, and batches differ among nodes."""
_BY_NAME = {table.value: table for table in CHECKED_TABLES}
_DIGEST_BYTES = 16
_MAX_ROWS, _MAX_BYTES = 10_000, 4 << 20
_LENGTHS = struct.Struct(">II")

Position = tuple[str, bytes]
"""Table and key; an empty table is before the first."""
FIRST: Position = ("", b"")


@dataclass(frozen=True, slots=True)
class HashedRange:
    """Some neighbouring rows of one table, as of one log entry."""

    index: int
    table: str
    first_key: bytes
    last_key: bytes
    next: Position | None
    """Where the step after begins; None: these are the last rows."""
    digest: bytes
    """BLAKE2b of table and rows, 16 bytes."""


@dataclass(frozen=True, slots=True)
class CheckStep:
    """What a node made of one CheckState entry."""

    now_us: int
    command: pb.CheckState
    hashed: HashedRange | None


def is_step(command: pb.CheckState) -> bool:
    """Whether the step can be carried out."""
    start = command.start
    return (
        (not start.table or start.table in _BY_NAME)
        and len(start.key) <= 511
        and command.max_rows <= _MAX_ROWS
        and command.max_bytes <= _MAX_BYTES
    )


def hash_range(reader: Reader, index: int, start: Position, max_rows: int, max_bytes: int) -> HashedRange:
    """Hash rows from ``start`` to the end of the first table that has any, or up to a bound."""
    begin = CHECKED_TABLES.index(_BY_NAME[start[0]]) if start[0] else 0
    for table in CHECKED_TABLES[begin:]:
        key = start[1] if table.value == start[0] else b""
        pieces, size_bytes, rows = [table.value.encode()], 0, 0
        first_key = last_key = b""
        following: Position | None = _after(table)
        for row_key, value in reader.scan(table, key):
            if rows and (rows >= max_rows or size_bytes >= max_bytes):
                following = (table.value, row_key)
                break
            first_key, last_key = first_key or row_key, row_key
            pieces += (_LENGTHS.pack(len(row_key), len(value)), row_key, value)
            rows += 1
            size_bytes += len(row_key) + len(value)
        if rows:
            return HashedRange(index, table.value, first_key, last_key, following, _digest(pieces))
    return HashedRange(index, "", b"", b"", None, _digest([]))


def _after(table: Table) -> Position | None:
    following = CHECKED_TABLES.index(table) + 1
    return (CHECKED_TABLES[following].value, b"") if following < len(CHECKED_TABLES) else None


def _digest(pieces: list[bytes]) -> bytes:
    return hashlib.blake2b(b"".join(pieces), digest_size=_DIGEST_BYTES).digest()
