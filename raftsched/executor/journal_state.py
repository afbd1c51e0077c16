"""What the executor's journal says, in memory, and the records that change it."""

import struct
from collections import OrderedDict
from enum import IntEnum
from typing import NamedTuple

from raftsched.executor.keys import AttemptKey

_RECORD = struct.Struct("<B16siqI")
"""Kind, execution id, attempt, fencing token, length of the body that follows."""
NO_KEY: AttemptKey = (bytes(16), 0)
"""Of a record that is of no attempt."""


class RecordKind(IntEnum):
    """What a record says."""

    IDENTITY = 1
    ACCEPT = 2
    END = 3
    FORGET = 4
    SECRET = 5
    GIVE_BACK = 6


class Held(NamedTuple):
    """An attempt that was accepted and whose end no leader has acknowledged."""

    fencing_token: int
    report: bytes | None
    """The serialized report of its end; None while it has not ended."""


class JournalState:
    """What the journal says, in memory."""

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self.executor_id = ""
        self.secret = b""
        """Known to the executors of this directory alone; b"": it is of a version that had none."""
        self.held: dict[AttemptKey, Held] = {}
        self.newest: dict[bytes, tuple[int, int]] = {}
        """Attempt and fencing token last accepted, by execution id."""
        self.over: OrderedDict[bytes, None] = OrderedDict()
        """Executions of ``newest`` whose last attempt is not held, oldest first."""
        self.report_bytes = 0
        """Of the reports in ``held``."""

    def accept(self, key: AttemptKey, fencing_token: int) -> None:
        """Hold a new attempt."""
        execution_id, attempt = key
        self.held[key] = Held(fencing_token, None)
        if (attempt, fencing_token) >= self.newest.get(execution_id, (0, 0)):
            self.newest[execution_id] = (attempt, fencing_token)
            self.over.pop(execution_id, None)

    def end(self, key: AttemptKey, report: bytes) -> None:
        """Keep the report of an attempt that is held."""
        held = self.held[key]
        self.held[key] = Held(held.fencing_token, report)
        self.report_bytes += len(report) - len(held.report or b"")

    def forget(self, key: AttemptKey, fencing_token: int) -> None:
        """Hold it no longer, and remember it as long as there is room."""
        execution_id, attempt = key
        self._let_go(key)
        if (attempt, fencing_token) < self.newest.get(execution_id, (0, 0)):
            return
        self._remember(execution_id, attempt, fencing_token)

    def give_back(self, key: AttemptKey, fencing_token: int) -> None:
        """Hold it no longer, and remember that no attempt from this one on was accepted, up to that token."""
        execution_id, attempt = key
        self._let_go(key)
        if self.newest.get(execution_id) == (attempt, fencing_token):
            self._remember(execution_id, attempt - 1, fencing_token)

    def _let_go(self, key: AttemptKey) -> None:
        held = self.held.pop(key, None)
        if held is not None and held.report is not None:
            self.report_bytes -= len(held.report)

    def _remember(self, execution_id: bytes, attempt: int, fencing_token: int) -> None:
        self.newest[execution_id] = (attempt, fencing_token)
        self.over[execution_id] = None
        while len(self.over) > self._remembered:
            oldest, _ = self.over.popitem(last=False)
            del self.newest[oldest]

    def copy(self) -> "JournalState":
        """A copy that does not follow."""
        copy = JournalState(self._remembered)
        copy.executor_id, copy.secret = self.executor_id, self.secret
        copy.report_bytes = self.report_bytes
        copy.held, copy.newest, copy.over = self.held.copy(), self.newest.copy(), self.over.copy()
        return copy

    def records(self) -> list[bytes]:
        """Records that bring an empty state to this one."""
        records = [
            pack(RecordKind.IDENTITY, NO_KEY, 0, self.executor_id.encode()),
            pack(RecordKind.SECRET, NO_KEY, 0, self.secret),
        ]
        for execution_id in self.over:
            attempt, fencing_token = self.newest[execution_id]
            records.append(pack(RecordKind.FORGET, (execution_id, attempt), fencing_token))
        for key, held in self.held.items():
            records.append(pack(RecordKind.ACCEPT, key, held.fencing_token))
            if held.report is not None:
                records.append(pack(RecordKind.END, key, held.fencing_token, held.report))
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
            if kind == RecordKind.ACCEPT:
                self.accept(key, token)
            elif kind == RecordKind.END:
                self.end(key, records[position - length : position])
            elif kind == RecordKind.FORGET:
                self.forget(key, token)
            elif kind == RecordKind.GIVE_BACK:
                self.give_back(key, token)
            elif kind == RecordKind.IDENTITY:
                self.executor_id = records[position - length : position].decode()
            elif kind == RecordKind.SECRET:
                self.secret = records[position - length : position]
            else:
                raise ValueError(f"a record is of kind {kind}")


def pack(kind: RecordKind, key: AttemptKey, fencing_token: int, body: bytes = b"") -> bytes:
    """One record."""
    return _RECORD.pack(kind, key[0], key[1], fencing_token, len(body)) + body
