"""What a node tells the process that keeps its history index, over a pipe.

A frame is a letter, the length of what follows (4 bytes, big-endian), and that.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

_HEAD = struct.Struct(">cI")
_ENTRY = struct.Struct(">QIII")
_SHORT = struct.Struct(">H")
_INDEX = _TIME = struct.Struct(">Q")
_ID_BYTES = 16


class Word(Enum):
    """What a frame says."""

    SETTINGS = b"C"
    """The first: JSON."""
    START = b"S"
    """The index up to which the state tables stand now; every change after it follows."""
    ENTRY = b"E"
    """The changes of one log entry."""
    REACHED = b"I"
    """An index up to which no changes are left to tell."""
    GAP = b"G"
    """Anything may have changed."""
    LEADS = b"L"
    """Whether this node leads: 1 or 0."""
    OTHERS = b"O"
    """The other nodes, which have outputs too: JSON, a list of addresses (host:port)."""
    TIME = b"T"
    """The time of the cluster, in microseconds since the Unix epoch (8 bytes, big-endian)."""


@dataclass(frozen=True, slots=True)
class ChangedRows:
    """Keys of the rows that one log entry changed."""

    index: int
    executions: list[bytes]
    tasks: list[str]
    ledger: list[bytes]


def frame(word: Word, payload: bytes) -> bytes:
    """The bytes of a frame."""
    return _HEAD.pack(word.value, len(payload)) + payload


def index_frame(word: Word, index: int) -> bytes:
    """A frame that says a log index."""
    return frame(word, _INDEX.pack(index))


def index_of(payload: bytes) -> int:
    """The log index of a frame."""
    return int(_INDEX.unpack(payload)[0])


def time_frame(now_us: int) -> bytes:
    """A frame that says the time."""
    return frame(Word.TIME, _TIME.pack(now_us))


def time_of(payload: bytes) -> int:
    """The time of a frame."""
    return int(_TIME.unpack(payload)[0])


def others_frame(addresses: Sequence[str]) -> bytes:
    """A frame that says where the other nodes are."""
    return frame(Word.OTHERS, json.dumps(addresses).encode())


def others_of(payload: bytes) -> list[str]:
    """The addresses of a frame."""
    return list(json.loads(payload))


def entry_frame(index: int, executions: list[bytes], tasks: list[str], ledger: list[bytes]) -> bytes:
    """A frame with the changes of one log entry."""
    parts = [_ENTRY.pack(index, len(executions), len(tasks), len(ledger)), *executions]
    for text in (*(task.encode() for task in tasks), *ledger):
        parts += (_SHORT.pack(len(text)), text)
    return frame(Word.ENTRY, b"".join(parts))


def parse_entry(payload: bytes) -> ChangedRows:
    """The changes of a frame."""
    index, executions, tasks, ledger = _ENTRY.unpack_from(payload)
    position = _ENTRY.size + executions * _ID_BYTES
    ids = [payload[start : start + _ID_BYTES] for start in range(_ENTRY.size, position, _ID_BYTES)]
    texts = []
    for _ in range(tasks + ledger):
        (length,) = _SHORT.unpack_from(payload, position)
        position += _SHORT.size
        texts.append(payload[position : position + length])
        position += length
    return ChangedRows(index, ids, [text.decode() for text in texts[:tasks]], texts[tasks:])


class Parser:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Word, bytes]]:
        """The frames that are complete with ``data``."""
        self._buffer += data
        position = 0
        while len(self._buffer) - position >= _HEAD.size:
            letter, length = _HEAD.unpack_from(self._buffer, position)
            end = position + _HEAD.size + length
            if len(self._buffer) < end:
                break
            yield Word(letter), bytes(self._buffer[position + _HEAD.size : end])
            position = end
        del self._buffer[:position]
