"""The filter between the engine and the network: what makes pysyncobj keep Raft's promises.

Inbound messages are checked and turned into what the engine can be trusted with; what it sends is stamped, answered
for, or replaced. Nothing here does I/O: ``outbox`` holds the messages that may leave after the next commit.
"""

from collections.abc import Callable, Mapping

import structlog

from raftsched.consensus.directory import UNMARKED, Card
from raftsched.consensus.elections import Elections
from raftsched.consensus.engine import Engine
from raftsched.consensus.journal import Journal
from raftsched.consensus.matching import Accepted, examine, is_well_formed
from raftsched.consensus.messages import (
    AppendEntries,
    AppendReply,
    AppendResult,
    LogEntry,
    Message,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
)
from raftsched.consensus.replicator import Replicator
from raftsched.consensus.settings import Settings
from raftsched.ports import Clock, Role

_log = structlog.get_logger(__name__)
_LARGEST_TERM_STEP = 1 << 32
"""Terms rise by one with each election. One forged message must not use up those that are left."""


class Guard:
    """One member of a shard, without proposals, reads and the state machine."""

    def __init__(
        self,
        *,
        node_id: str,
        journal: Journal,
        clock: Clock,
        settings: Settings,
        compaction_due: Callable[[], int | None],
        is_behind: Callable[[], bool],
        snapshot_needed: Callable[[str], None],
    ) -> None:
        """``is_behind``: too much waits to be applied; ``snapshot_needed`` gets the peer to fetch a snapshot from."""
        self._journal = journal
        self._clock = clock
        self._is_behind = is_behind
        self._snapshot_needed = snapshot_needed
        self._node_id = node_id
        self._heard_at: dict[str, float] = {}
        self._began_at = clock.monotonic()
        self._incarnations: Mapping[str, str] = {}
        self.leader_commit_index = 0
        """The highest commit index that a leader has told this node."""
        self.outbox: list[tuple[str, Message]] = []
        self.engine = Engine(
            node_id,
            (),
            journal=journal,
            clock=clock,
            settings=settings,
            sink=self,
            compaction_due=compaction_due,
        )
        self.elections = Elections(engine=self.engine, journal=journal, clock=clock, settings=settings, send=self._send)
        self.replicator = Replicator(
            engine=self.engine, journal=journal, clock=clock, settings=settings, send=self._send
        )

    def set_members(self, voter_ids: tuple[str, ...], learner_ids: tuple[str, ...]) -> None:
        """Who counts and who only gets entries, from now on; this node may be among them or not."""
        voters = tuple(peer_id for peer_id in voter_ids if peer_id != self._node_id)
        learners = tuple(peer_id for peer_id in learner_ids if peer_id != self._node_id)
        self.engine.set_members(voters, learners)
        self.elections.set_voters(voters, votes_itself=self._node_id in voter_ids)
        self.replicator.set_members(voters, learners)

    def set_incarnations(self, incarnations: Mapping[str, str]) -> None:
        """Which directory counts as each member's, from now on. What was known of another one is forgotten."""
        before, self._incarnations = self._incarnations, incarnations
        for peer_id, incarnation in incarnations.items():
            if before.get(peer_id, incarnation) != incarnation:
                self.replicator.forget(peer_id)

    def tick(self) -> None:
        """Let the engine make one step."""
        self.elections.before_tick()
        send_appends = self.replicator.before_tick()
        self.engine.tick(send_appends=send_appends)
        self.replicator.after_tick()
        self.elections.after_tick()

    def next_wakeup(self) -> float:
        """When the next tick is due if nothing comes, on the clock's monotonic scale."""
        is_leader = self.engine.role is Role.LEADER
        return self.replicator.next_wakeup() if is_leader else self.elections.next_wakeup()

    def heard(self, peer_id: str) -> None:
        """The peer lives."""
        self._heard_at[peer_id] = self._clock.monotonic()

    def silence_s(self, peer_id: str) -> float:
        """Seconds since the peer was heard, or since the start."""
        return self._clock.monotonic() - self._heard_at.get(peer_id, self._began_at)

    def peer_connected(self, peer_id: str) -> None:
        """Messages to the peer leave from now on; what was sent before may be lost."""
        self.replicator.peer_connected(peer_id)
        self.elections.peer_connected(peer_id)

    def peer_disconnected(self, peer_id: str) -> None:
        """Messages to the peer are lost from now on."""
        self.replicator.peer_disconnected(peer_id)

    def receive(self, peer_id: str, message: Message, card: Card = UNMARKED) -> None:
        """Take a message of a peer, whose directory the card is of.

        Raises InvariantBroken: it contradicts what is committed here.
        """
        if message.term > self.engine.term + _LARGEST_TERM_STEP:
            _log.error("dropped a message of an impossible term", peer=peer_id, term=message.term)
            return
        self.heard(peer_id)
        match message:
            case PreVote():
                self.elections.on_pre_vote(peer_id, message)
            case RequestVote():
                self.elections.on_request_vote(peer_id, message)
            case AppendEntries():
                self._on_append(peer_id, message)
            case PreVoteReply() | Vote() | AppendReply() | TimeoutNow():
                if message.term > self.engine.term:
                    self.engine.adopt_term(message.term)
                elif not self._counts(peer_id, message, card):
                    _log.debug("dropped an answer of a directory that does not count", peer=peer_id)
                elif message.term == self.engine.term:
                    self._on_current(peer_id, message)
                elif isinstance(message, PreVoteReply):
                    # A grant may come from a node that has yet to learn of this term.
                    self.elections.on_pre_vote_reply(peer_id, message)

    def _counts(self, peer_id: str, message: Message, card: Card) -> bool:
        """Whether it was said by the server that the members mean: a node with another directory is another server.

        Who asks for votes or sends entries need not be known: its own log says whether it may.
        """
        return isinstance(message, TimeoutNow) or card.counts_as(self._incarnations.get(peer_id, card.incarnation))

    def vote_wanted(self, peer_id: str, _last_index: int, _last_term: int) -> None:
        """See engine.Sink."""
        self.elections.vote_wanted(peer_id)

    def vote_granted(self, _peer_id: str) -> None:
        """See engine.Sink."""
        self.elections.vote_granted()

    def append(self, peer_id: str, prev_index: int, prev_term: int, entries: tuple[LogEntry, ...]) -> None:
        """See engine.Sink."""
        self.replicator.append(peer_id, prev_index, prev_term, entries)

    def append_compacted(self, peer_id: str) -> None:
        """See engine.Sink."""
        self.replicator.append_compacted(peer_id)

    def role_changed(self, before: Role, now: Role) -> None:
        """See engine.Sink."""
        self.elections.role_changed(before, now)
        self.replicator.role_changed(before, now)

    def _on_current(self, peer_id: str, message: PreVoteReply | Vote | AppendReply | TimeoutNow) -> None:
        match message:
            case PreVoteReply():
                self.elections.on_pre_vote_reply(peer_id, message)
            case Vote():
                self.elections.on_vote(peer_id, message)
            case AppendReply():
                self.replicator.on_reply(peer_id, message)
            case TimeoutNow():
                self.elections.on_timeout_now(peer_id, message)

    def _on_append(self, peer_id: str, append: AppendEntries) -> None:
        if append.term < self.engine.term:
            # Only the term counts in this reply: it tells a stale leader that it is one.
            self._send(peer_id, AppendReply(self.engine.term, 0, 0, AppendResult.BUSY, 0))
        elif not is_well_formed(append):
            _log.error("dropped a malformed append", peer=peer_id, term=append.term)
        elif append.term == self.engine.term and self.engine.role is Role.LEADER:
            _log.error("dropped an append of a second leader of this term", peer=peer_id, term=append.term)
        else:
            self._follow(peer_id, append)

    def _follow(self, peer_id: str, append: AppendEntries) -> None:
        commit_index = self.engine.commit_index
        self.leader_commit_index = max(self.leader_commit_index, append.commit_index)
        verdict = examine(self._journal, commit_index, append)
        if append.prev_chain and isinstance(verdict, Accepted) and not self._journal.chain_at(append.prev_index):
            self._adopt_chain(append)
        if isinstance(verdict, Accepted) and not (verdict.entries and self._is_behind()):
            prev = (verdict.keep_to, self._journal.entry(verdict.keep_to).term)
            commit_index = min(append.commit_index, verdict.verified)
            self.engine.receive_append(peer_id, append.term, prev, verdict.entries, commit_index)
            result, index = AppendResult.ACCEPTED, verdict.verified
        else:
            # Still a sign of life of the leader.
            prev = (self._journal.last_index, self._journal.last_term)
            self.engine.receive_append(peer_id, append.term, prev, (), commit_index)
            result, index = AppendResult.BUSY, 0
            if not isinstance(verdict, Accepted):
                if append.oldest:
                    self._snapshot_needed(peer_id)
                else:
                    result, index = AppendResult.REJECTED, verdict.hint
        self.elections.leader_heard()
        self._send(peer_id, AppendReply(self.engine.term, append.epoch, append.round, result, index))

    def _adopt_chain(self, append: AppendEntries) -> None:
        if self._journal.term_at(append.prev_index) == append.prev_term:
            self._journal.adopt_chain(append.prev_index, append.prev_chain)

    def _send(self, peer_id: str, message: Message) -> None:
        self.outbox.append((peer_id, message))
