"""What the nodes of a shard tell each other. Every message carries the sender's current term."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

NO_OP = b"\x01"
"""The engine's own: the entry that opens the log, and the first entry of each leader."""
COMMAND = b"\x10"
"""Ours. The engine gives no meaning to it, so it never unpickles what follows."""
CONFIG = b"\x11"
"""Ours: the members of the shard."""
ENTRY_KINDS = (NO_OP[0], COMMAND[0], CONFIG[0])
_MESSAGE_BYTES = 64


class LogEntry(NamedTuple):
    """One entry of the log, in the field order that the engine expects."""

    data: bytes
    """A byte that says the kind, and the command."""
    index: int  # type: ignore[assignment]  # tuple.index goes unused
    term: int


@dataclass(frozen=True, slots=True)
class PreVote:
    """Would you vote for me in the term after mine? (Raft dissertation 9.6)"""

    term: int
    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class PreVoteReply:
    """Answers PreVote."""

    term: int
    asked_term: int
    granted: bool


@dataclass(frozen=True, slots=True)
class RequestVote:
    """Vote for me (Raft 5.2)."""

    term: int
    last_index: int
    last_term: int
    transfer: bool
    """The leader itself asked for this election, so having heard from it lately is no reason to refuse."""


@dataclass(frozen=True, slots=True)
class Vote:
    """Answers RequestVote; a granted vote is for the term of this message."""

    term: int
    granted: bool


@dataclass(frozen=True, slots=True)
class AppendEntries:
    """Entries that follow prev_index, or a heartbeat (Raft 5.3)."""

    term: int
    prev_index: int
    prev_term: int
    entries: tuple[LogEntry, ...]
    commit_index: int
    epoch: int
    """Differs with every probe of where the logs part; the reply repeats it."""
    round: int
    """Grows with every round of heartbeats; the reply repeats it."""
    oldest: bool
    """The sender holds nothing older than prev_index: who lacks it needs a snapshot."""
    prev_chain: int = 0
    """The sender's checksum up to prev_index (``Journal.chain_at``); 0: it does not know."""


class AppendResult(Enum):
    """What a follower did with an append."""

    ACCEPTED = 1
    """``index``: the log is known to equal the leader's up to here."""
    REJECTED = 2
    """``index``: the logs can be equal only before here."""
    BUSY = 3
    """The entries were not taken: a snapshot is on its way, or too many wait to be applied. ``index`` says nothing."""


@dataclass(frozen=True, slots=True)
class AppendReply:
    """Answers AppendEntries. With a higher term than the append, it only says that the leader is no more."""

    term: int
    epoch: int
    round: int
    result: AppendResult
    index: int


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """Stand for election at once (Raft dissertation 3.10)."""

    term: int


Message = PreVote | PreVoteReply | RequestVote | Vote | AppendEntries | AppendReply | TimeoutNow


def size_bytes(message: Message) -> int:
    """About what the message takes in a queue."""
    if isinstance(message, AppendEntries):
        return _MESSAGE_BYTES + sum(len(entry.data) + _MESSAGE_BYTES for entry in message.entries)
    return _MESSAGE_BYTES
