"""One real shard with made-up peers: the test speaks for them, on a clock that it moves."""

from collections.abc import Sequence
from typing import TypeVar

from raftsched.consensus.directory import Directory
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import (
    COMMAND,
    NO_OP,
    AppendEntries,
    AppendReply,
    AppendResult,
    LogEntry,
    Message,
    PreVoteReply,
    Vote,
)
from raftsched.consensus.settings import Settings
from raftsched.consensus.shard import RaftShard
from raftsched.consensus.snapshot import encode_index
from raftsched.ports import Fate, Peer, Role, Table
from raftsched.store.memory_store import MemoryStore

M = TypeVar("M", bound=Message)
ELECTION_TIMEOUT_S = 1.4
HEARTBEAT_S = 0.1


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def now_us(self) -> int:
        return int(self.now * 1e6)

    def monotonic(self) -> float:
        return self.now

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def token(self) -> str:
        return "0" * 32


class CountingStore(MemoryStore):
    """Counts what reaches the disk."""

    commits = 0

    def commit(self) -> bool:
        committed = super().commit()
        self.commits += committed
        return committed


class ListMachine:
    """Keeps the commands in order."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.commands: list[bytes] = []
        self.founded_calls: list[int] = []
        self.committed_calls = 0
        self.restored_calls = 0

    def apply(self, index: int, command: bytes) -> bytes:
        self.commands.append(command)
        self.store.batch().put(Table.TASKS, b"%08d" % index, command)
        return b"done " + command

    def founded(self, shard_id: int) -> None:
        self.founded_calls.append(shard_id)

    def committed(self) -> None:
        self.committed_calls += 1

    def restored(self) -> None:
        self.restored_calls += 1


class Bench:
    """Node a of the shard a, b, c (or more), with what it sent and what it told."""

    def __init__(self, peers: str = "bc", settings: Settings | None = None) -> None:
        self.clock = ManualClock()
        self.store = CountingStore()
        self.peers = peers
        self.settings = settings or Settings()
        self.sent: list[tuple[str, Message]] = []
        self.leadership: list[int | None] = []
        self.fates: list[Fate] = []
        self.outcomes: list[bytes] = []
        self.directory: Directory | None = None
        """None: the shard is from before there were identities."""
        self.takes_in = False

    def log(self, *terms: int, term: int | None = None, committed: int = 1, applied: int = 1) -> "Bench":
        """Entries 2, 3, ... of these terms are on the disk before the start, and the node was in ``term``."""
        journal = Journal(self.store, "a")
        journal.add(NO_OP, 1, 0)
        for index, entry_term in enumerate(terms, start=2):
            journal.add(COMMAND + b"own %d" % index, index, entry_term)
        journal.setCurrentTerm(term if term is not None else max(terms, default=0), None)
        journal.setRaftCommitIndex(committed)
        journal.save_commit_index()
        self.store.batch().put(Table.META, b"applied_index", encode_index(applied))
        self.store.commit()
        return self

    def start(self) -> "Bench":
        self.machine = ListMachine(self.store)
        self.shard = RaftShard(
            shard_id=1,
            node=Peer("a", ""),
            peers=tuple(Peer(peer_id, "") for peer_id in "a" + self.peers),
            store=self.store,
            clock=self.clock,
            machine=self.machine,
            on_leadership=self.leadership.append,
            send=lambda peer_id, message: self.sent.append((peer_id, message)),
            settings=self.settings,
            directory=self.directory,
            takes_in=self.takes_in,
        )
        for peer_id in self.peers:
            self.shard.peer_connected(peer_id)
        self.shard.tick()
        return self

    def restart(self) -> "Bench":
        """As after a crash: what was not committed is gone."""
        self.store.crash()
        self.sent.clear()
        return self.start()

    @property
    def role(self) -> Role:
        return self.shard.status().role

    @property
    def term(self) -> int:
        return self.shard.status().term

    @property
    def terms(self) -> list[int]:
        """Terms of entries 2, 3, ... on the disk."""
        with self.store.read() as view:
            rows = list(view.scan(Table.LOG))
        return [int.from_bytes(value[:8], "big") for _, value in rows][1:]

    def tick(self) -> list[tuple[str, Message]]:
        """One step; what it sent."""
        self.sent.clear()
        self.shard.tick()
        return list(self.sent)

    def hear(self, peer_id: str, *messages: Message) -> list[tuple[str, Message]]:
        """The peer says this; what the node sends in that step."""
        for message in messages:
            assert self.shard.receive(peer_id, message)
        return self.tick()

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        """Let time pass, with all the ticks that are due; what was sent meanwhile."""
        end, sent = self.clock.now + seconds, []
        while (due := self.shard.next_wakeup()) <= end:
            self.clock.now = max(self.clock.now, due) + 1e-6
            sent += self.tick()
        self.clock.now = max(end, self.clock.now)
        return sent + self.tick()

    def become_candidate(self) -> None:
        self.wait(ELECTION_TIMEOUT_S)
        for peer_id in self.peers:
            self.hear(peer_id, PreVoteReply(self.term, self.term + 1, granted=True))
            if self.role is Role.CANDIDATE and not self.shard._guard.elections.asks_for_pre_votes:
                return
        raise AssertionError("not a candidate")

    def become_leader(self) -> "Bench":
        """Won, and with its no-op committed."""
        self.become_candidate()
        for peer_id in self.peers:
            self.hear(peer_id, Vote(self.term, granted=True))
        assert self.role is Role.LEADER
        self.acknowledge_all()
        return self

    def acknowledge_all(self) -> None:
        """All peers take all that the leader has, until nothing is left to send."""
        for _ in range(20):
            appends = [(peer_id, m) for peer_id, m in self.wait(1.5 * HEARTBEAT_S) if isinstance(m, AppendEntries)]
            for peer_id, append in appends:
                self.shard.receive(peer_id, accept(append))
            if all(not append.entries for _, append in appends):
                self.tick()
                return
        raise AssertionError("there is no end to what it sends")

    def propose(self, command: bytes = b"x", *, early: bool = False) -> None:
        def done(fate: Fate, outcome: bytes) -> None:
            self.fates.append(fate)
            self.outcomes.append(outcome)

        self.shard.propose(command, done, early=early)

    def read(self) -> None:
        self.shard.read_barrier(self.fates.append)


def accept(append: AppendEntries) -> AppendReply:
    """What a follower answers that took it all."""
    index = append.prev_index + len(append.entries)
    return AppendReply(append.term, append.epoch, append.round, AppendResult.ACCEPTED, index)


def reject(append: AppendEntries, hint: int) -> AppendReply:
    return AppendReply(append.term, append.epoch, append.round, AppendResult.REJECTED, hint)


def append(
    term: int, prev: tuple[int, int], terms: Sequence[int] = (), *, commit: int = 1, oldest: bool = False
) -> AppendEntries:
    """An append of a leader: entries of these terms after prev (index, term)."""
    entries = tuple(
        LogEntry(COMMAND + b"entry %d of term %d" % (index, entry_term), index, entry_term)
        for index, entry_term in enumerate(terms, start=prev[0] + 1)
    )
    return AppendEntries(term, *prev, entries, commit, epoch=5, round=9, oldest=oldest)


def only(sent: list[tuple[str, Message]], kind: type[M]) -> list[tuple[str, M]]:
    return [(peer_id, message) for peer_id, message in sent if isinstance(message, kind)]


def appends_to(peer_id: str, sent: list[tuple[str, Message]]) -> list[AppendEntries]:
    return [message for target, message in only(sent, AppendEntries) if target == peer_id]
