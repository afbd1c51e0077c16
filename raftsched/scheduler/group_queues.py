"""Executions that wait in groups, as far as their limits have room. A full group costs nothing until one of it ends."""

from collections.abc import Iterable, Iterator

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.state.rows import be64, parse_group_start, timestamp_us
from raftsched.ports import Reader, Table

_SCAN_ROWS = 500


class GroupQueue:
    """What waits in one group, in the order in which it is to start, until ``room`` is used up."""

    def __init__(self, name: str, room: int, resume: dict[str, bytes]) -> None:
        self.name = name
        self.room = room
        self._resume = resume

    def waiting(self, reader: Reader) -> Iterator[tuple[int, bytes, "GroupQueue | None"]]:
        """Rank and execution id of each. Goes on where the last look left off, if that was cut short."""
        prefix = self.name.encode() + b"\0"
        start = max(prefix, self._resume.pop(self.name, b""))
        for rows, (key, _) in enumerate(reader.scan(Table.GROUPED, start, self.name.encode() + b"\1")):
            if self.room <= 0:
                return
            if rows >= _SCAN_ROWS:
                self._resume[self.name] = key
                return
            yield key[len(prefix)], key[len(prefix) + 1 :], self


class GroupQueues:
    """Groups that may have room for what waits in them."""

    def __init__(self) -> None:
        self._candidates: set[str] = set()
        self._reserved: dict[str, int] = {}
        self._resume: dict[str, bytes] = {}

    def mark(self, name: str) -> None:
        """Something of the group ended, or began to wait."""
        self._candidates.add(name)

    def refresh(self, reader: Reader) -> None:
        """Look at every group in which something waits, as at the beginning of a term and after limits changed."""
        start = b""
        while (key := next((key for key, _ in reader.scan(Table.GROUPED, start)), None)) is not None:
            name = key[: key.index(b"\0")]
            self._candidates.add(name.decode())
            start = name + b"\1"

    def open(self, reader: Reader, now_us: int) -> list[GroupQueue]:
        """The groups that have room and something that waits."""
        found: list[GroupQueue] = []
        for name in sorted(self._candidates):
            prefix = name.encode() + b"\0"
            if next(reader.scan(Table.GROUPED, prefix, name.encode() + b"\1"), None) is None:
                self._candidates.discard(name)
                continue
            value = reader.get(Table.GROUPS, name.encode())
            room = _SCAN_ROWS if value is None else self._room(reader, pb.GroupRow.FromString(value), now_us)
            if room > 0:
                found.append(GroupQueue(name, room, self._resume))
        return found

    def reserve(self, names: Iterable[str], change: int) -> None:
        """Count (1) or discount (-1) attempts that commands under way give to executors."""
        for name in names:
            self._reserved[name] = self._reserved.get(name, 0) + change
            if self._reserved[name] <= 0:
                del self._reserved[name]

    def _room(self, reader: Reader, row: pb.GroupRow, now_us: int) -> int:
        reserved = self._reserved.get(row.group.name, 0)
        room = _SCAN_ROWS
        if row.group.max_running:
            room = min(room, row.group.max_running - row.running - reserved)
            if row.running >= row.group.max_running:
                # The end of one marks it again.
                self._candidates.discard(row.group.name)
        if room > 0 and row.group.max_starts:
            free = row.group.max_starts - row.starts - reserved
            room = min(room, free + self._lapsed(reader, row, now_us) if free < room else room)
        return room

    def _lapsed(self, reader: Reader, row: pb.GroupRow, now_us: int) -> int:
        """Starts that still have a row but no longer count."""
        name, period_us = row.group.name.encode(), timestamp_us(row.group.period)
        stop = name + b"\0" + be64(max(0, now_us - period_us + 1))
        lapsed = sum(1 for _ in reader.scan(Table.GROUP_STARTS, name + b"\0", stop))
        if lapsed:
            return lapsed
        # None lies within the period from here either way: a clock was wrong. Applying forgets them.
        first = next((key for key, _ in reader.scan(Table.GROUP_STARTS, name + b"\0", name + b"\1")), None)
        return 1 if first is not None and parse_group_start(first) > now_us + period_us else 0
