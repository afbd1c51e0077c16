"""What the layers above the core expect from the layers that do I/O.

Each protocol has a real implementation and a twin for tests; both pass one conformance suite.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol


class Clock(Protocol):
    """The only source of time and chance."""

    def now_us(self) -> int:
        """Wall clock, in microseconds since the Unix epoch. May step."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back nor steps, and goes on while the machine is suspended."""

    def uniform(self, low: float, high: float) -> float:
        """A random number in [low, high)."""

    def token(self) -> str:
        """128 random bits as 32 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """What a node knows of the time that a majority of the voters agrees on."""

    known: bool
    """Whether a majority has agreed since the node was started."""
    certain: bool
    """Whether nominal times may be decided by it."""
    offset_us: int
    """How far the node's own wall clock is ahead of it; negative: behind."""
    error_us: int
    """How far off the agreed time may be if at most a minority of the clocks is wrong."""
    agreeing: tuple[str, ...]
    """Ids of the nodes whose clocks agree now; empty: no majority does."""
    problem: str
    """What is wrong, and what to do; "" when nothing is."""


class AgreedClock(Clock, Protocol):
    """A clock whose ``now_us`` no single wall clock can move. See ``consensus/cluster_time.py``."""

    stepped_at_s: float
    """When it jumped last, or was first known, by ``monotonic``."""

    @property
    def known(self) -> bool:
        """Whether there is an agreed time at all; until then ``now_us`` is a guess."""

    @property
    def certain(self) -> bool:
        """Whether nominal times may be decided by it."""

    def better_placed(self) -> tuple[str, ...]:
        """While this node's own clock is not of the majority: the other voters whose clock is."""

    def confirm(self) -> bool:
        """Take the wall clock of this machine as it is, if it is the only voter of its cluster; else False."""

    def status(self) -> ClockStatus:
        """What this node knows of time."""


class Table(Enum):
    """The tables of the store. Keys are 1 to 511 bytes and sort as bytes."""

    # Members are singletons. Enum hashes their names in Python, at four times the price of the row look-up it serves.
    __hash__ = object.__hash__

    RAFT = "raft"
    """Term, vote and commit index; never part of a snapshot."""
    LOG = "log"
    """Entries of the Raft log, by index (8 bytes, big-endian)."""
    META = "meta"
    """Applied index, cluster id, format version. This and all below are the replicated state."""
    TASKS = "tasks"
    """name -> TaskRow"""
    CURSORS = "cursors"
    """name -> CursorRow"""
    DUE = "due"
    """next nominal time (8 bytes, big-endian) + name -> uid and generation (8 bytes each, big-endian)"""
    EXECUTIONS = "executions"
    """execution id (16 bytes) -> ExecutionRow"""
    ATTEMPTS = "attempts"
    """execution id (16 bytes) + attempt (4 bytes, big-endian) of one that another followed -> AttemptRow"""
    PENDING = "pending"
    """execution id of a pending execution of priority 0 that an executor may be given -> empty"""
    RANKED = "ranked"
    """128 - priority (1 byte) + execution id of one of another priority -> empty"""
    HELD = "held"
    """execution id of every other pending execution: ranked, queued, or waiting for its next attempt -> empty"""
    GROUPS = "groups"
    """name -> GroupRow"""
    GROUPED = "grouped"
    """name of a group + 0 + 128 - priority (1 byte) + execution id of one that waits in it -> empty"""
    GROUP_STARTS = "group_starts"
    """name of a group + 0 + time (8 bytes, big-endian) + execution id of an attempt that started then -> empty"""
    CALENDARS = "calendars"
    """name -> CalendarRow"""
    CALENDAR_USES = "calendar_uses"
    """name of a calendar + 0 + name of a task that names it -> empty; without a task -> how many do (8 bytes)"""
    OPEN = "open"
    """uid (8 bytes, big-endian) + class + execution id -> empty. Counted and not ended. The classes: 0 counts for the
    overlap limit, 1 is in the queue, 2 is of a backfill and waits, 3 is of a backfill and does not
    """
    TIMERS = "timers"
    """due time (8 bytes, big-endian) + execution id -> empty. What is to be woken then"""
    ACTIVE = "active"
    """execution id of an assigned or running execution -> attempt (4 bytes, big-endian) + executor id"""
    FAILURES = "failures"
    """state (1 byte) + execution id of what ended otherwise than SUCCEEDED -> empty"""
    CHILDREN = "children"
    """name of a task + 0 + name of one that runs after it -> empty"""
    ROUNDS = "rounds"
    """uid (8 bytes, big-endian) of a task that waits for several + execution id of the round's root -> RoundRow"""
    LEDGER = "ledger"
    """name + 0 + nominal time (8 bytes, big-endian) + execution id -> LedgerRow"""
    TASK_CHANGES = "task_changes"
    """name + 0 + revision (8 bytes, big-endian) -> TaskRow: definitions that were replaced, and deletions"""
    SINKS = "sinks"
    """name of a sink of the history -> log index (8 bytes, big-endian) up to which all has been shipped"""
    WATCHES = "watches"
    """due time (8 bytes, big-endian) + execution id + occasion (1 byte) -> empty. Whether to tell is looked at then"""
    OUTBOX = "outbox"
    """due time (8 bytes, big-endian) + execution id + occasion (1 byte) -> NoticeRow. To be delivered then"""
    TALLIES = "tallies"
    """what is counted -> a row of its own"""
    REQUESTS = "requests"
    """request id -> RequestRow"""
    REQUEST_EXPIRY = "request_expiry"
    """expiry time (8 bytes, big-endian) + request id -> empty"""


STATE_TABLES = tuple(table for table in Table if table not in (Table.RAFT, Table.LOG))
"""What a snapshot holds and what all nodes agree on."""


class Reader(Protocol):
    """A consistent view of the tables.

    Reading raises StoreFailed when a row is not what was written; so does every use of the store from then on.
    """

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value, or None when the key is absent."""

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < stop in key order, or from the last to the first. Stop None: to the end.

        The table may not be written while the iterator is in use.
        """

    def count(self, table: Table) -> int:
        """Number of rows, in constant time."""


class Batch(Reader, Protocol):
    """The writes since the last commit, and a view that includes them."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Insert or replace."""

    def delete(self, table: Table, key: bytes) -> bool:
        """Remove the row; False when it was absent."""


class Staging(Protocol):
    """A second set of state tables that is being filled from a snapshot."""

    def put_many(self, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
        """Add rows, in ascending key order over all calls.

        Written as part of the open batch if there is one, else in a transaction of its own. Lost at a restart.
        """

    def install(self) -> None:
        """Make these the state tables, within the store's open batch: durable with the next commit, all or nothing."""

    def discard(self) -> None:
        """Drop the rows."""


class Store(Protocol):
    """Durable tables with one open batch."""

    def batch(self) -> Batch:
        """The open batch; opened at the first call after a commit. Valid until the next commit."""

    def commit(self) -> bool:
        """Make the open batch durable (fsync). False when there was nothing to write.

        Raises StoreFailed: the disk refused; the caller must stop, the state on disk is that of the last commit.
        """

    def commit_soon(self) -> "Future[bool]":
        """Begin a commit that may go on in another thread. Until the future is done, nothing but ``read`` is allowed.

        Raises StoreFailed, also from the future.
        """

    def rollback(self) -> None:
        """Forget the open batch."""

    def read(self) -> AbstractContextManager[Reader]:
        """A view of what was last committed, unchanged by later commits. Many may be open."""

    def stage(self) -> Staging:
        """Begin to receive a snapshot; an earlier staging is discarded."""

    def size_bytes(self) -> int:
        """Bytes in use on disk."""

    def refuse_after_failure(self) -> None:
        """Raise StoreFailed if any call did before: the caller must stop."""

    def close(self) -> None:
        """Forget the open batch and release the files."""


class StoreFailed(Exception):
    """The disk refused a write (I/O error, full), or a row is not what was written. The node must stop.

    Nothing since the last commit is durable.
    """


class StoreRefused(Exception):
    """The data directory is corrupt, in use, or not one of ours; nothing was changed."""


class NodeOutdated(Exception):
    """What this node is to read is of a newer version than it knows: the log, a snapshot or the data directory.

    Nothing of it was taken. The node must stop, and be upgraded; the message says so.
    """


class Role(IntEnum):
    """What a node is in its shard; the numbers are those of ``raftsched.v1.NodeRole``."""

    LEADER = 1
    FOLLOWER = 2
    CANDIDATE = 3


class Fate(Enum):
    """What is known of a proposal or a read when it is over."""

    DONE = "done"
    """Applied and durable on a majority; for a read: it may be answered from the applied state."""
    NOT_LEADER = "not_leader"
    """Refused: certainly not applied."""
    OVERLOADED = "overloaded"
    """Refused because too much is in flight: certainly not applied."""
    UNKNOWN = "unknown"
    """Leadership was lost or the deadline passed on the way: it may have been applied or may be yet."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One node of the cluster."""

    id: str
    address: str
    """host:port of its gRPC service."""
    incarnation: str = ""
    """The data directory that counts as its own; "" where it is not known or does not matter."""


class MemberList(Protocol):
    """The nodes of the cluster: the members in force, and those that are to be taken in. They change while it runs."""

    @property
    def current(self) -> tuple[Peer, ...]:
        """All of them, this node included, in the order of their ids; without incarnations."""

    def address(self, node_id: str) -> str:
        """host:port of its gRPC service; "" when it is none of them, as "" is."""

    def others(self, node_id: str) -> tuple[Peer, ...]:
        """All but this one."""

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call back after every change from now on, when ``current`` is the new one."""


@dataclass(frozen=True, slots=True)
class PeerLink:
    """How a node sees one of its peers."""

    peer_id: str
    connected: bool
    silence_s: float
    """Seconds since something was heard from it."""
    match_index: int
    """Highest log index known to be stored there; 0 unless this node leads."""


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """What one node knows of its shard."""

    role: Role
    term: int
    leader_id: str
    commit_index: int
    applied_index: int
    first_index: int
    last_index: int
    log_size_bytes: int
    links: tuple[PeerLink, ...]
    voters: tuple[str, ...] = ()
    """Ids of the nodes that elect and commit, in the membership that is in force on this node."""
    learners: tuple[str, ...] = ()
    """Ids of the nodes that get entries and do not count."""
    cluster_identity: str = ""
    """Drawn when the cluster was founded, 32 hexadecimal digits; "" while this node belongs to none."""
    votes: bool = True
    """Whether this node elects and commits, by the membership that is in force on it."""
    has_state: bool = True
    """Whether this node has had all that was committed when it came to its leader."""
    newest_versions: Mapping[str, int] = field(default_factory=dict)
    """The newest cluster version that a node knows, by its id: of this node and of those that are connected."""


class Log(Protocol):
    """The replicated log of one shard, as the scheduler and the API see it. All calls return at once.

    Callbacks run after the commit that makes their news durable, never inside the call that was given them. Those of
    early proposals alone do not wait for the tables of this node: a majority has the entry on its disks.
    """

    @property
    def role(self) -> Role:
        """What this node is now. It believes so: who must know asks by ``read_barrier``."""

    @property
    def term(self) -> int:
        """The current term of this node."""

    @property
    def leader_id(self) -> str:
        """Whom this node takes for the leader; "" for nobody."""

    def propose(self, command: bytes, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        """Append a command of at most 4 MiB. Called back exactly once, with the outcome of ``apply`` when DONE.

        ``early``: as soon as it is applied here. What it did is in ``Store.batch`` then; in ``Store.read`` it is for
        whoever waits for a ``read_barrier``.
        """

    def read_barrier(self, done: Callable[[Fate], None]) -> None:
        """Confirm leadership by a round to a majority, then wait until all that was committed is applied (Raft 6.4)."""

    def transfer_leadership(self, peer_id: str, done: Callable[[str], None]) -> None:
        """Hand over to a peer that has caught up; "" picks one. Called back with "" or the reason why it failed."""

    def status(self) -> ShardStatus:
        """All that this node knows of its shard, for a report: it costs as much as a small command."""
