"""pysyncobj, held at arm's length: the only module that subclasses it and the only one that uses its private names.

pysyncobj elects, keeps the log, appends, counts what a majority holds and advances the commit index. Its journal and
serializer come from properties that stand in for its private attributes, its election timeout from an overridden
method, and its clock from the module global that it reads.
"""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Protocol
from zlib import crc32

import pysyncobj.syncobj
from pysyncobj import SERIALIZER_STATE, SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import LogEntry
from raftsched.consensus.settings import Settings
from raftsched.ports import Clock, Role

PRIVATE_NAMES = (
    "_SyncObj__raftLog",
    "_SyncObj__serializer",
    "_SyncObj__generateRaftTimeout",
    "_SyncObj__raftElectionDeadline",
    "_SyncObj__newAppendEntriesTime",
    "_SyncObj__raftCommitIndex",
    "_SyncObj__raftLastApplied",
    "_SyncObj__raftNextIndex",
    "_SyncObj__raftMatchIndex",
    "_SyncObj__lastResponseTime",
    "_SyncObj__otherNodes",
    "_SyncObj__readonlyNodes",
)
"""What is used of a ``SyncObj`` of the pinned version without being its interface."""

_ROLES = {0: Role.FOLLOWER, 1: Role.CANDIDATE, 2: Role.LEADER}
_AT_ONCE, _NEVER = float("-inf"), float("inf")

_clock: ContextVar[Clock] = ContextVar("clock of the engine that runs")
pysyncobj.syncobj.monotonicTime = lambda: _clock.get().monotonic()


class EngineSink(Protocol):
    """Takes what the engine sends to a peer."""

    def vote_wanted(self, peer_id: str, last_index: int, last_term: int) -> None:
        """The engine stands for election."""

    def vote_granted(self, peer_id: str) -> None:
        """The engine has voted for the peer, in the current term."""

    def append(self, peer_id: str, prev_index: int, prev_term: int, entries: tuple[LogEntry, ...]) -> None:
        """The engine leads, and has these entries for the peer; none: a heartbeat."""

    def append_compacted(self, peer_id: str) -> None:
        """The engine leads, and holds no entry any more that the peer could append."""

    def role_changed(self, before: Role, now: Role) -> None:
        """Called while the engine changes its role: when it becomes leader, before it sends."""


class _PeerNode(Node):  # type: ignore[misc]  # pysyncobj has no types
    """A node whose hash, and so its place in the engine's sets, is the same in every process."""

    def __init__(self, node_id: str) -> None:
        super().__init__(node_id)
        self._hash = crc32(node_id.encode())

    def __hash__(self) -> int:
        return self._hash


class _Compaction:
    """Stands in for the serializer: the state is durable in the store, so compacting is only forgetting entries."""

    def __init__(self, due: Callable[[], int | None]) -> None:
        self._due = due

    def checkSerializing(self) -> tuple[int, int | None]:  # noqa: N802 - named by pysyncobj
        """Tell the engine up to which entry a snapshot exists, when it shall forget the entries before."""
        index = self._due()
        return (SERIALIZER_STATE.SERIALIZING, None) if index is None else (SERIALIZER_STATE.SUCCESS, index)

    def getTransmissionData(self, _node: Node) -> None:  # noqa: N802 - named by pysyncobj
        """Snapshots do not travel through the engine."""

    def cancelTransmisstion(self, _node: Node) -> None:  # noqa: N802 - named by pysyncobj
        """Nothing is on its way."""


class _NoPoller:
    def poll(self, _timeout: float) -> None:
        """The engine owns no socket."""


class _Seam(Transport):  # type: ignore[misc]  # pysyncobj has no types
    """The engine's transport: turns its messages into calls."""

    def __init__(self, sink: EngineSink) -> None:
        super().__init__(None, None, [])
        self._sink = sink
        self.connected = self._onNodeConnected
        self.disconnected = self._onNodeDisconnected
        self.received = self._onMessageReceived

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        kind = message["type"]
        if kind == "append_entries" and "entries" in message:
            self._sink.append(node.id, message["prevLogIdx"], message["prevLogTerm"], tuple(message["entries"]))
        elif kind == "append_entries" and "serialized" in message:
            self._sink.append_compacted(node.id)
        elif kind == "request_vote":
            self._sink.vote_wanted(node.id, message["last_log_index"], message["last_log_term"])
        elif kind == "response_vote":
            self._sink.vote_granted(node.id)
        else:
            # Its replies to appends know neither term nor probe; ours go instead.
            assert kind == "next_node_idx", kind
        return True


class _GuardedSyncObj(SyncObj):  # type: ignore[misc]  # pysyncobj has no types
    def __init__(
        self, node: Node, peers: list[Node], conf: SyncObjConf, seam: _Seam, parts: tuple[Journal, _Compaction, Clock]
    ) -> None:
        self._journal, self._compaction, self._engine_clock = parts
        super().__init__(node, peers, conf=conf, transport=seam)
        self._poller = _NoPoller()

    @property
    def _SyncObj__raftLog(self) -> Journal:  # noqa: N802 - named by pysyncobj
        return self._journal

    @_SyncObj__raftLog.setter
    def _SyncObj__raftLog(self, _own: object) -> None:  # noqa: N802 - named by pysyncobj
        """The engine makes a journal of its own, in memory; it goes unused."""

    @property
    def _SyncObj__serializer(self) -> _Compaction:  # noqa: N802 - named by pysyncobj
        return self._compaction

    @_SyncObj__serializer.setter
    def _SyncObj__serializer(self, _own: object) -> None:  # noqa: N802 - named by pysyncobj
        """The engine makes a serializer of its own; it goes unused."""

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802 - named by pysyncobj
        return self._engine_clock.uniform(self.conf.raftMinTimeout, self.conf.raftMaxTimeout)


class Engine:
    """One pysyncobj instance, with the parts of it that the shard reads and moves."""

    def __init__(
        self,
        node_id: str,
        voter_ids: Iterable[str],
        *,
        journal: Journal,
        clock: Clock,
        settings: Settings,
        sink: EngineSink,
        compaction_due: Callable[[], int | None],
    ) -> None:
        """``compaction_due`` says up to which entry the log shall be compacted, or None."""
        _clock.set(clock)
        self._own_clock = clock
        self._settings = settings
        self._sink = sink
        self._nodes: dict[str, _PeerNode] = {}
        self._seam = _Seam(sink)
        self._raft: Any = _GuardedSyncObj(
            _PeerNode(node_id),
            [self._node(peer_id) for peer_id in sorted(voter_ids)],
            self._conf(settings),
            self._seam,
            (journal, _Compaction(compaction_due), clock),
        )
        self.role = Role.FOLLOWER

    @property
    def term(self) -> int:
        """The current term."""
        return int(self._raft.raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        """The highest entry known to be committed."""
        return int(self._raft.raftCommitIndex)

    @property
    def leader_id(self) -> str:
        """Whom this node takes for the leader of its term; "" for nobody."""
        leader = self._raft._getLeader()
        return "" if leader is None else str(leader.id)

    @property
    def election_deadline(self) -> float:
        """When the engine would stand for election."""
        return float(self._raft._SyncObj__raftElectionDeadline)

    def set_members(self, voter_ids: Iterable[str], learner_ids: Iterable[str]) -> None:
        """The other members: those who count, and those who only get entries."""
        raft, now = self._raft, self._own_clock.monotonic()
        voters = {self._node(peer_id) for peer_id in voter_ids}
        learners = {self._node(peer_id) for peer_id in learner_ids}
        before = raft._SyncObj__otherNodes | raft._SyncObj__readonlyNodes
        for node in (voters | learners) - before:
            raft._SyncObj__raftNextIndex[node] = raft._SyncObj__raftLog.last_index + 1
            raft._SyncObj__raftMatchIndex[node] = 0
        for node in before - voters - learners:
            raft._SyncObj__raftNextIndex.pop(node, None)
            raft._SyncObj__raftMatchIndex.pop(node, None)
        for node in voters - raft._SyncObj__otherNodes:
            # Whoever begins to count has a whole election timeout to be heard.
            raft._SyncObj__lastResponseTime[node] = now
        # New sets: the engine iterates over them, and their order must not depend on what they held before.
        raft._SyncObj__otherNodes, raft._SyncObj__readonlyNodes = voters, learners

    def restart_election_timer(self) -> None:
        """Wait a full, random election timeout from now on."""
        low, high = self._settings.election_timeout_min_s, self._settings.election_timeout_max_s
        self._raft._SyncObj__raftElectionDeadline = self._own_clock.monotonic() + self._own_clock.uniform(low, high)

    def stand_for_election(self) -> None:
        """Let the next tick do it."""
        self._raft._SyncObj__raftElectionDeadline = _AT_ONCE

    def tick(self, *, send_appends: bool) -> None:
        """One step: election, commit index, appends to the peers if so told, compaction."""
        self._enter()
        self._raft._SyncObj__newAppendEntriesTime = _AT_ONCE if send_appends else _NEVER
        self._raft.doTick(0)

    def adopt_term(self, term: int) -> None:
        """Follow in a higher term, with no vote given and no leader known."""
        # A vote request that every log is ahead of: it raises the term and is not granted.
        self._receive(_PeerNode(""), {"type": "request_vote", "term": term, "last_log_index": 0, "last_log_term": -1})

    def receive_request_vote(self, peer_id: str, term: int, last_index: int, last_term: int) -> None:
        """May call ``vote_granted``."""
        message = {"type": "request_vote", "term": term, "last_log_index": last_index, "last_log_term": last_term}
        self._receive(self._node(peer_id), message)

    def receive_vote(self, peer_id: str) -> None:
        """Count a vote for the current term."""
        self._receive(self._node(peer_id), {"type": "response_vote", "term": self.term})

    def receive_append(
        self, peer_id: str, term: int, prev: tuple[int, int], entries: tuple[LogEntry, ...], commit_index: int
    ) -> None:
        """Follow the peer, cut the log behind ``prev`` (index and term of an entry that is held), append, commit."""
        message = {
            "type": "append_entries",
            "term": term,
            "prevLogIdx": prev[0],
            "prevLogTerm": prev[1],
            "entries": entries,
            "commit_index": commit_index,
        }
        self._receive(self._node(peer_id), message)

    def connect(self, peer_id: str) -> None:
        """Let the engine send appends to the peer."""
        self._enter()
        self._seam.connected(self._node(peer_id))

    def disconnect(self, peer_id: str) -> None:
        """Keep the engine from sending appends to the peer; takes effect within the loop that sends."""
        self._enter()
        self._seam.disconnected(self._node(peer_id))

    def restore(self, index: int) -> None:
        """All entries up to this one are applied, and so committed."""
        self._raft._SyncObj__raftLastApplied = index
        if index > self.commit_index:
            self._raft._SyncObj__raftCommitIndex = index
            self._raft._SyncObj__raftLog.setRaftCommitIndex(index)

    def next_index(self, peer_id: str) -> int:
        """Of the leader: the entry that the peer gets next."""
        return int(self._raft._SyncObj__raftNextIndex[self._node(peer_id)])

    def set_next_index(self, peer_id: str, index: int) -> None:
        """Of the leader: the entry that the peer gets next."""
        self._raft._SyncObj__raftNextIndex[self._node(peer_id)] = index

    def match_index(self, peer_id: str) -> int:
        """Of the leader: the highest entry known to be on the peer's disk."""
        return int(self._raft._SyncObj__raftMatchIndex.get(self._node(peer_id), 0))

    def set_match_index(self, peer_id: str, index: int) -> None:
        """Of the leader: the highest entry known to be on the peer's disk."""
        self._raft._SyncObj__raftMatchIndex[self._node(peer_id)] = index

    def contact(self, peer_id: str, at: float) -> None:
        """Of the leader: the peer followed at this time, or later."""
        node = self._node(peer_id)
        times = self._raft._SyncObj__lastResponseTime
        times[node] = max(at, times.get(node, at))

    def _node(self, peer_id: str) -> _PeerNode:
        node = self._nodes.get(peer_id)
        if node is None:
            node = self._nodes[peer_id] = _PeerNode(peer_id)
        return node

    def _enter(self) -> None:
        _clock.set(self._own_clock)

    def _receive(self, node: Node, message: dict[str, Any]) -> None:
        self._enter()
        self._seam.received(node, message)

    def _role_changed(self, before: int, now: int) -> None:
        self.role = _ROLES[now]
        self._sink.role_changed(_ROLES[before], self.role)

    def _conf(self, settings: Settings) -> SyncObjConf:
        return SyncObjConf(
            autoTick=False,
            raftMinTimeout=settings.election_timeout_min_s,
            raftMaxTimeout=settings.election_timeout_max_s,
            appendEntriesPeriod=settings.heartbeat_s,
            leaderFallbackTimeout=settings.election_timeout_max_s,
            connectionTimeout=settings.election_timeout_max_s + 1,
            appendEntriesUseBatch=True,
            # An entry as large as the engine's batch would take its path of pieces, which ends them wrongly.
            appendEntriesBatchSizeBytes=settings.max_command_bytes + settings.batch_bytes,
            commandsWaitLeader=False,
            dynamicMembershipChange=False,
            onStateChanged=self._role_changed,
        )
