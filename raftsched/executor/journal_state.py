"""What the executor's journal says, in memory, and the records that change it."""

import struct
from collections import OrderedDict
from enum import IntEnum
from typing import NamedTuple

from raftsched.executor.keys import AttemptKey

_RECORD = struct.Struct("<B16siqI")
"""Kind, execution id, attempt, fencing token, length of the body that follows."""


class Kind(IntEnum):
    """What a record says."""

    IDENTITY = 1
    ACCEPT = 2
    END = 3
    FORGET = 4
    ACKNOWLEDGED = 5
    """Forgotten, because a leader has its end for sure."""


class Held(NamedTuple):
    """An attempt that was accepted and whose end no leader has acknowledged."""

    fencing_token: int
    report: bytes | None
    """The serialized report of its end; None while it has not ended."""


class State:
    """What the journal says, in memory."""

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self.executor_id = ""
        self.held: dict[AttemptKey, Held] = {}
        self.newest: dict[bytes, tuple[int, int]] = {}
        """Attempt and fencing token last accepted, by execution id."""
        self.over: OrderedDict[bytes, bool] = OrderedDict()
        """Executions of ``newest`` of which nothing is held, oldest first; whether a leader has the end for sure."""

    def accept(self, key: AttemptKey, fencing_token: int) -> None:
        """Hold a new attempt."""
        execution_id, attempt = key
        self.held[key] = Held(fencing_token, None)
        if (attempt, fencing_token) >= self.newest.get(execution_id, (0, 0)):
            self.newest[execution_id] = (attempt, fencing_token)
            self.over.pop(execution_id, None)

    def end(self, key: AttemptKey, report: bytes) -> None:
        """Keep the report of an attempt that is held."""
        self.held[key] = Held(self.held[key].fencing_token, report)

    def forget(self, key: AttemptKey, fencing_token: int, *, acknowledged: bool = False) -> None:
        """Hold it no longer, and remember it as long as there is room."""
        execution_id, attempt = key
        self.held.pop(key, None)
        if (attempt, fencing_token) < self.newest.get(execution_id, (0, 0)):
            return
        self.newest[execution_id] = (attempt, fencing_token)
        self.over[execution_id] = acknowledged
        while len(self.over) > self._remembered:
            oldest, _ = self.over.popitem(last=False)
            del self.newest[oldest]

    def copy(self) -> "State":
        """A copy that does not follow."""
        copy = State(self._remembered)
        copy.executor_id = self.executor_id
        copy.held, copy.newest, copy.over = self.held.copy(), self.newest.copy(), self.over.copy()
        return copy

    def records(self) -> list[bytes]:
        """Records that bring an empty state to this one."""
        records = [pack(Kind.IDENTITY, (bytes(16), 0), 0, self.executor_id.encode())]
        for execution_id in self.over:
            attempt, fencing_token = self.newest[execution_id]
            records.append(pack(kind_of_end(self.over[execution_id]), (execution_id, attempt), fencing_token))
        for key, held in self.held.items():
            records.append(pack(Kind.ACCEPT, key, held.fencing_token))
            if held.report is not None:
                records.append(pack(Kind.END, key, held.fencing_token, held.report))
        return records

    def replay(self, records: bytes) -> None:
        """Apply the records of one frame. Raises struct.error, LookupError or ValueError when they make no sense."""
        position = 0
        while position < len(records):
            kind, execution_id, attempt, token, length = _RECORD.unpack_from(records, position)
            position += _RECORD.size + length
            if position > len(records):
                raise ValueError("a record is longer than its frame")
            key = (execution_id, attempt)
            if kind == Kind.ACCEPT:
                self.accept(key, token)
            elif kind == Kind.END:
                self.end(key, records[position - length : position])
            elif kind in (Kind.FORGET, Kind.ACKNOWLEDGED):
                self.forget(key, token, acknowledged=kind == Kind.ACKNOWLEDGED)
            elif kind == Kind.IDENTITY:
                self.executor_id = records[position - length : position].decode()
            else:
                raise ValueError(f"a record is of kind {kind}")


def kind_of_end(acknowledged: bool) -> Kind:
    """What says that an attempt is held no longer."""
    return Kind.ACKNOWLEDGED if acknowledged else Kind.FORGET


def pack(kind: Kind, key: AttemptKey, fencing_token: int, body: bytes = b"") -> bytes:
    """One record."""
    return _RECORD.pack(kind, key[0], key[1], fencing_token, len(body)) + body
