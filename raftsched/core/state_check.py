"""The comparison of the nodes' state tables: what is hashed, what a node remembers of it, and who is odd.

A pass walks all state tables in steps. Each step is a log entry, so all nodes hash the same rows as of the same state;
the digests that the leader gathered come back in a later entry, so all nodes come to the same verdict.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from raftsched.internal.v1 import check_pb2 as pb
from raftsched.ports import STATE_TABLES, Reader, Table

CHECKED_TABLES = tuple(table for table in STATE_TABLES if table is not Table.META)
"""META holds the applied index, which is that of the last entry of a batch, and batches differ among nodes."""
_BY_NAME = {table.value: table for table in CHECKED_TABLES}
_DIGEST_BYTES = 16
_MAX_ROWS, _MAX_BYTES = 10_000, 4 << 20
_KEEP_STEPS = 16
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
class Step:
    """What a node made of one CheckState entry."""

    now_us: int
    command: pb.CheckState
    hashed: HashedRange | None


@dataclass(frozen=True, slots=True)
class Divergence:
    """A node whose rows are not those of the others."""

    node_id: str
    pass_us: int
    index: int
    table: str
    first_key: bytes
    last_key: bytes
    others: tuple[str, ...]
    """The nodes that agree with each other; none when no two of them are a majority."""

    def __str__(self) -> str:
        rows = f"table {self.table}, rows {_shown(self.first_key)} to {_shown(self.last_key)}, as of entry {self.index}"
        if not self.others:
            return f"the state of {self.node_id} differs from that of the other nodes, and no majority agrees: {rows}"
        return (
            f"the state of {self.node_id} differs from that of {' and '.join(self.others)}: {rows}. Stop "
            f"{self.node_id}, wipe its data directory while all other nodes are up, and start it again: they send it "
            "theirs"
        )


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


def odd_ones(digests: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """Who differs from the majority of those that answered, and that majority. Without one, all are odd."""
    counts = Counter(digests.values())
    if len(counts) <= 1:
        return [], sorted(digests)
    common, count = counts.most_common(1)[0]
    if 2 * count <= len(digests):
        return sorted(digests), []
    return (
        sorted(node for node, digest in digests.items() if digest != common),
        sorted(node for node, digest in digests.items() if digest == common),
    )


class CheckMemory:
    """What this node knows of the passes since it was started. Belongs to the thread that applies entries."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._hashed: dict[int, HashedRange] = {}
        self._whole = False
        self.pass_us = 0
        """When the pass under way, or the last one, began."""
        self.last: HashedRange | None = None
        """The last step; None after a pass has ended."""
        self.last_whole_end_us = 0
        """When the last pass ended in which this node took part throughout."""
        self.divergences: dict[str, Divergence] = {}
        """By node. One stays until a pass has ended that did not find it again."""

    def applied(self, step: Step) -> list[Divergence]:
        """Take a step that was applied; what it shows that was not known."""
        command = step.command
        if command.pass_us != self.pass_us:
            self.pass_us = command.pass_us
            # Who comes in later, after a restart or a snapshot, sees a part of the pass only.
            self._whole = not command.HasField("found") and not command.start.table
        news = self._judge(command) if command.HasField("found") else []
        self.last = step.hashed
        if step.hashed is not None:
            self._hashed[step.hashed.index] = step.hashed
            while len(self._hashed) > _KEEP_STEPS:
                del self._hashed[next(iter(self._hashed))]
        if command.ends_pass:
            self._end_pass(step.now_us)
        return news

    def digest(self, index: int) -> bytes:
        """Of the rows that the step of this entry hashed; empty when this node did not."""
        hashed = self._hashed.get(index)
        return b"" if hashed is None else hashed.digest

    def problem(self) -> str:
        """What is wrong with the state of this node; "" when nothing is known to be."""
        divergence = self.divergences.get(self._node_id)
        return "" if divergence is None else str(divergence)

    def forget_steps(self) -> None:
        """A snapshot has replaced the tables."""
        self._whole = False
        self.last = None

    def _judge(self, command: pb.CheckState) -> list[Divergence]:
        index = command.found.index
        digests = {node.node_id: node.digest for node in command.found.nodes}
        self._whole = self._whole and self._node_id in digests
        odd, others = odd_ones(digests)
        hashed = self._hashed.get(index)
        table, first, last = (hashed.table, hashed.first_key, hashed.last_key) if hashed else ("unknown", b"", b"")
        found = [Divergence(node, command.pass_us, index, table, first, last, tuple(others)) for node in odd]
        news = [each for each in found if each.node_id not in self.divergences]
        for each in found:
            known = self.divergences.get(each.node_id)
            if known is None or known.pass_us != each.pass_us:
                self.divergences[each.node_id] = each
        return news

    def _end_pass(self, now_us: int) -> None:
        self.last = None
        if self._whole:
            self.last_whole_end_us = now_us
            self.divergences = {node: each for node, each in self.divergences.items() if each.pass_us == self.pass_us}
        self._whole = False


def _after(table: Table) -> Position | None:
    following = CHECKED_TABLES.index(table) + 1
    return (CHECKED_TABLES[following].value, b"") if following < len(CHECKED_TABLES) else None


def _digest(pieces: list[bytes]) -> bytes:
    return hashlib.blake2b(b"".join(pieces), digest_size=_DIGEST_BYTES).digest()


def _shown(key: bytes) -> str:
    text = key.decode("ascii", "replace")
    return text if text.isprintable() and "\ufffd" not in text else f"0x{key.hex()}"
