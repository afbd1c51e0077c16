"""One member of one shard: proposals, reads, the state machine, and the two halves of each step about the commit.

Synchronous and without I/O but the store's: whoever drives it passes messages in, calls ``begin_tick``, lets the store
commit, calls ``end_tick``, and gives it a function that sends. The order within a tick is the safety argument: messages
in, engine, apply, ONE commit, and only then messages out and calls back (Raft 5: a server answers after its state is on
stable storage). The appends of a leader alone leave before the commit, since nobody counts on the leader's own disk
before the next tick (Raft dissertation 10.2.1). A follower with entries to acknowledge applies in the tick after.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from raftsched.commands.raising import founding
from raftsched.commands.versions import FIRST_VERSION
from raftsched.consensus.admission import founding_problem
from raftsched.consensus.applier import Applier, StateMachine
from raftsched.consensus.changes import MemberChanges
from raftsched.consensus.compaction import compaction_due
from raftsched.consensus.directory import UNMARKED, Card, Directory
from raftsched.consensus.doorway import Doorway
from raftsched.consensus.guard import Guard
from raftsched.consensus.journal import Journal
from raftsched.consensus.membership import ChangeDone, MemberChange, Members, Membership, config_entry
from raftsched.consensus.messages import COMMAND, AppendEntries, Message, size_bytes
from raftsched.consensus.pending import Call, PendingProposals, PendingReads
from raftsched.consensus.plight import Situation, plight
from raftsched.consensus.settings import Settings
from raftsched.consensus.snapshot import SnapshotReceiver
from raftsched.consensus.transfer import Transfer
from raftsched.ports import Clock, Fate, Peer, PeerLink, Role, ShardStatus, Store

_log = structlog.get_logger(__name__)
_AT_ONCE, _NEVER = float("-inf"), float("inf")


class ShardFailed(Exception):
    """A step failed before: what is in memory may not be what is on disk. The node must stop."""


class RaftShard:
    """Implements ``raftsched.ports.Log``."""

    def __init__(
        self,
        *,
        shard_id: int,
        node: Peer,
        peers: tuple[Peer, ...],
        store: Store,
        clock: Clock,
        machine: StateMachine,
        on_leadership: Callable[[int | None], None],
        send: Callable[[str, Message], None],
        settings: Settings | None = None,
        directory: Directory | None = None,
        takes_in: bool = False,
        cluster_version: Callable[[], int] = lambda: FIRST_VERSION,
    ) -> None:
        """Go on from what the store holds.

        ``directory`` is what the store is to others; None: one from before there were identities. With such a one,
        ``peers`` are the voters of a shard whose members have never changed; what the store says goes before. A
        ``node`` that is not among the members follows, and waits to be added. ``takes_in``: as the leader, make all
        ``peers`` voters, as the directories that they come with, if they know the ``cluster_version`` of the state.
        ``on_leadership`` gets the term
        once this node leads and has applied and committed an entry of its own term, and None at once when it stops
        leading. ``send`` takes messages for a peer and may lose them.

        Raises StoreRefused: the store is another node's, or damaged.
        """
        self.shard_id = shard_id
        self.on_work: Callable[[], None] = _nothing
        """Called when there is something to do before ``next_wakeup``."""
        self.on_members: Callable[[Members], None] = _ignore
        """Takes the members in force once they are others and durable here. This node may no longer be among them."""
        self.on_directory: Callable[[], None] = _nothing
        """Called when this node shows another directory than before: peers should be greeted anew."""
        self.snapshot_source = ""
        """The peer that this node should fetch a snapshot from; "" for none."""
        self._node = node
        self._node_id = node.id
        self._directory = directory or Directory()
        self._wanted = peers if takes_in else ()
        self._store = store
        self._clock = clock
        self._on_leadership = on_leadership
        self._send = send
        self._settings = settings or Settings()
        self._journal = Journal(store, node.id)
        self._guard = Guard(
            node_id=node.id,
            journal=self._journal,
            clock=clock,
            settings=self._settings,
            compaction_due=self._compaction_due,
            is_behind=self._is_behind,
            snapshot_needed=self._need_snapshot,
        )
        self._engine = self._guard.engine
        self._guard.replicator.on_forgetful = lambda peer_id: self.doorway.found_out(peer_id)
        self._membership = Membership(store, self._journal, () if self._directory.incarnation else peers)
        self._membership.on_applied = self._members_applied
        self._told_members = self._membership.members
        self.doorway = Doorway(
            node.id, self._directory, clock, on_work=lambda: self.on_work(), last_index=lambda: self._journal.last_index
        )
        self._applier = Applier(
            shard_id=shard_id,
            store=store,
            journal=self._journal,
            membership=self._membership,
            machine=machine,
            clock=clock,
            settings=self._settings,
        )
        self._engine.restore(self._applier.index)
        self._inbound: deque[tuple[str, Message | bool, Card]] = deque()
        self._inbound_bytes: dict[str, int] = defaultdict(int)
        self._endings: list[Call] = []
        self._early_endings: list[Call] = []
        self._proposals = PendingProposals(clock, self._settings, self._endings, self._early_endings)
        self._reads = PendingReads(clock, self._settings, self._endings)
        self._transfer = Transfer(self._guard, self._journal, clock, self._settings, self._endings)
        self._changes = MemberChanges(
            node_id=node.id,
            membership=self._membership,
            guard=self._guard,
            journal=self._journal,
            clock=clock,
            settings=self._settings,
            proposals=self._proposals,
            transfer=self._transfer,
            knows_what_is_committed=self._knows_what_is_committed,
            endings=self._endings,
            directory=self._directory,
            wanted=self._wanted,
            cards=self._connected_cards,
            cluster_version=cluster_version,
        )
        self._guard.elections.begin()
        self._received_snapshot: SnapshotReceiver | None = None
        self._leads_in: int | None = None
        self._announced = False
        self._durable_term, self._durable_index = self._engine.term, self._journal.last_index
        self._committing = False
        self._gathering_until = _AT_ONCE
        self._failed = False
        self._has_state = False
        self._shows_another = False
        self._put_off = False
        """Whether the last step left what is committed to the next one."""

    def propose(self, command: bytes, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        """See ports.Log. Raises ValueError: the command is larger than ``Settings.max_command_bytes``."""
        if len(command) > self._settings.max_command_bytes:
            raise ValueError(f"a command has at most {self._settings.max_command_bytes} bytes, this one {len(command)}")
        self._refuse_after_failure()
        if self._leads_in is None:
            self._endings.append(lambda: done(Fate.NOT_LEADER, b""))
        else:
            self._proposals.add(command, done, early=early)
        # What gathers is taken by the step that the answer of a follower, or the end of the wait, asks for.
        if self._endings or not self._gathers():
            self.on_work()

    def read_barrier(self, done: Callable[[Fate], None]) -> None:
        """See ports.Log."""
        self._refuse_after_failure()
        if self._leads_in is None:
            self._endings.append(lambda: done(Fate.NOT_LEADER))
        else:
            self._reads.add(done)
        self.on_work()

    def transfer_leadership(self, peer_id: str, done: Callable[[str], None]) -> None:
        """See ports.Log."""
        self._refuse_after_failure()
        self._transfer.begin(self._changes.other_voter_ids, peer_id, done)
        self.on_work()

    def change_members(self, change: MemberChange, done: ChangeDone) -> None:
        """MemberChange one member, if this node leads and no other change is under way.

        ``done`` gets "" once the change is committed, or why it was not made, or that it may have been. A leader that
        is to be removed hands over first; the request is then to be made to the new leader.
        """
        self._refuse_after_failure()
        self._changes.add(change, done)
        self.on_work()

    @property
    def role(self) -> Role:
        """Who asks for pre-votes counts as a candidate."""
        if self._guard.elections.asks_for_pre_votes:
            return Role.CANDIDATE
        return Role.FOLLOWER if self._failed else self._engine.role

    @property
    def term(self) -> int:
        """The current term."""
        return self._engine.term

    @property
    def leader_id(self) -> str:
        """See ports.Log."""
        return "" if self._failed else self._guard.elections.known_leader_id

    @property
    def commit_index(self) -> int:
        """The highest entry known to be committed."""
        return self._engine.commit_index

    @property
    def members(self) -> Members:
        """Those in force here."""
        return self._membership.members

    @property
    def voter_ids(self) -> tuple[str, ...]:
        """The nodes that elect and commit, in the membership that is in force here."""
        return self._membership.members.voter_ids

    def status(self) -> ShardStatus:
        """See ports.Log."""
        leads = self._engine.role is Role.LEADER and not self._failed
        return ShardStatus(
            role=self.role,
            term=self.term,
            leader_id=self.leader_id,
            commit_index=self._engine.commit_index,
            applied_index=self._applier.index,
            first_index=self._journal.first_index,
            last_index=self._journal.last_index,
            log_size_bytes=self._journal.size_bytes,
            links=tuple(
                PeerLink(
                    peer_id,
                    self._guard.replicator.connected(peer_id),
                    self._guard.silence_s(peer_id),
                    self._engine.match_index(peer_id) if leads else 0,
                )
                for peer_id in self._changes.peer_ids
            ),
            voters=self._membership.members.voter_ids,
            learners=self._membership.members.learner_ids,
            cluster_identity=self._directory.cluster_identity,
            votes=self._guard.elections.votes,
            has_state=self._has_state or leads,
            newest_versions=self._newest_versions(),
        )

    def receive(self, peer_id: str, message: Message, card: Card = UNMARKED) -> bool:
        """Take a message for the next tick. False: too much of the peer waits; cut its link.

        ``card`` is of the directory that the peer showed when the stream began on which the message came.
        """
        # Also from those whose membership has yet to reach this node: Raft needs their votes and entries (diss. 4.1).
        waiting_bytes = self._inbound_bytes[peer_id]
        if waiting_bytes > self._settings.max_inbound_bytes or self.doorway.turns_away(peer_id):
            return False
        self._inbound_bytes[peer_id] = waiting_bytes + size_bytes(message)
        self._inbound.append((peer_id, message, card))
        self.on_work()
        return True

    def peer_connected(self, peer_id: str) -> None:
        """Messages to the peer leave from now on; what was sent to it before may be lost."""
        self._inbound.append((peer_id, True, UNMARKED))
        self.on_work()

    def peer_disconnected(self, peer_id: str) -> None:
        """Messages to the peer are lost from now on."""
        self.doorway.hung_up(peer_id)
        self._inbound.append((peer_id, False, UNMARKED))
        self.on_work()

    def peer_heard(self, peer_id: str) -> None:
        """The peer's process gave a sign of life on some other way than a message."""
        self._guard.heard(peer_id)

    def install_snapshot(self, receiver: SnapshotReceiver) -> None:
        """Let the next tick install a complete snapshot, unless it is behind what is committed here."""
        self._received_snapshot = receiver
        # At once: whoever looks before that tick would fetch another one over it.
        self.snapshot_source = ""
        self.on_work()

    def snapshot_failed(self) -> None:
        """The snapshot could not be fetched; the next append that needs one names a source again."""
        self.snapshot_source = ""

    def next_wakeup(self) -> float:
        """When the next tick is due if nothing comes, on the clock's monotonic scale."""
        if (
            self._inbound
            or self._endings
            or self._changes.waits
            or self.doorway.has_news
            or self._applier.index < self._engine.commit_index
        ):
            return _AT_ONCE
        return min(
            self._guard.next_wakeup(),
            self._gathering_until if self._proposals.waits or self._gathers() else _NEVER,
            self._proposals.next_deadline(),
            self._reads.next_deadline(),
            self._transfer.next_deadline(),
            self._applier.commit_due_at,
        )

    def tick(self) -> None:
        """One step of a shard that has its store for itself. A node has more: see ``driver``.

        Raises StoreFailed, InvariantBroken, or what the state machine raises: nothing of this step left the node but
        appends of the leader, and the node must stop.
        """
        if self.begin_tick():
            try:
                self._store.commit()
            except BaseException:
                self._failed = True
                raise
        self.end_tick()

    def begin_tick(self) -> bool:
        """The first half of a step; whether ``Store.commit`` must succeed before ``end_tick``.

        Raises what ``tick`` raises.
        """
        self._refuse_after_failure()
        try:
            commits = self._step()
        except BaseException:
            self._failed = True
            raise
        self._make_calls(self._early_endings)
        return commits

    def end_tick(self) -> None:
        """The second half of a step, when all that the first one wrote is durable: messages and callbacks."""
        self._refuse_after_failure()
        self._journal.dirty = False
        self._durable_term, self._durable_index = self._engine.term, self._journal.last_index
        if self._committing:
            self._applier.committed()
        self._tell_members()
        if self._shows_another:
            self._shows_another = False
            self.on_directory()
        self._announce_leadership()
        self._send_all()
        self._make_calls(self._endings)

    def close(self) -> None:
        """Stop leading, and end what is under way: what was proposed may have been applied."""
        self._failed = True
        # What is left of a step that failed, or whose commit did. All other calls were made when their step ended.
        self._proposals.fail()
        self._reads.fail()
        self._stop_leading()
        self._proposals.refuse_waiting(Fate.NOT_LEADER)
        self._changes.refuse_waiting()
        self._store.rollback()
        self._make_calls(self._early_endings)
        self._make_calls(self._endings)

    def _refuse_after_failure(self) -> None:
        if self._failed:
            raise ShardFailed("the shard failed in an earlier step or is closed; restart the node")

    def _step(self) -> bool:
        # Whoever reads a view may have met a damaged row.
        self._store.refuse_after_failure()
        self._take_news()
        self._take_inbound()
        self._take_snapshot()
        self._take_proposals()
        self._take_changes()
        self._begin_reads()
        self._transfer.tick(lambda peer_id, message: self._guard.outbox.append((peer_id, message)))
        self._guard.tick()
        self._notice_role()
        self._send_appends()
        if not self._puts_off_applying():
            self._applier.apply(self._engine.commit_index, self._applied)
        self._reads.confirm(self._guard.replicator.confirmed_round(), self._applier.index)
        self._notice_state()
        self._proposals.expire()
        self._reads.expire()
        self._committing = self._journal.dirty or self._applier.wants_commit(at_once=self._leads_in is not None)
        if self._committing:
            self._journal.save_commit_index()
        return self._committing

    def _applied(self, index: int, term: int, outcome: bytes) -> None:
        self._proposals.applied(index, term, outcome, self._durable_index)

    def _puts_off_applying(self) -> bool:
        """Whether what is to be durable comes first: a leader waits for a follower's log, and for its tables nobody.

        It then applies in the next step, whatever that brings.
        """
        self._put_off = self._leads_in is None and self._journal.dirty and not self._put_off
        return self._put_off

    def _take_inbound(self) -> None:
        while self._inbound:
            peer_id, message, card = self._inbound.popleft()
            if message is True:
                self._guard.peer_connected(peer_id)
            elif message is False:
                self._guard.peer_disconnected(peer_id)
            else:
                self._inbound_bytes[peer_id] -= size_bytes(message)
                if self._is_of_another_cluster(card):
                    continue
                self._guard.receive(peer_id, message, card)
                self._join(card.cluster_identity)
                self._notice_role()
                self._changes.refresh()

    def _is_of_another_cluster(self, card: Card) -> bool:
        """It may have been none when the stream began: then this node has joined one since."""
        own, other = self._directory.cluster_identity, card.cluster_identity
        return bool(own and other and own != other)

    def _join(self, cluster_identity: str) -> None:
        """A new directory belongs to the cluster whose entries it holds."""
        if self._directory.is_new and cluster_identity and self._journal.last_index > 1:
            self._directory.join(cluster_identity, self._journal.first_index)
            self._journal.dirty = self._shows_another = True
            _log.info("joined a cluster", node=self._node_id, cluster_identity=cluster_identity)

    def _take_news(self) -> None:
        """What was learnt of directories, this node's among them."""
        if self.doorway.take_news():
            self._journal.dirty = True
        if self.doorway.found_forgetful:
            self.doorway.found_forgetful = False
            self._forget()
        if self._directory.founds and self._directory.is_new and not self._founding_problem():
            self._found()

    def _forget(self) -> None:
        """Another node remembers more of this directory than it does: be another server, and let the leader see."""
        _log.error("this data directory is older than what other nodes remember of it", node=self._node_id)
        self._directory.forget(self._clock)
        self._journal.dirty = self._shows_another = True
        self._changes.directory_changed()
        if self._engine.role is Role.LEADER:
            self._engine.adopt_term(self._engine.term + 1)
            self._notice_role()

    def _founding_problem(self) -> str:
        return founding_problem(self._node_id, self._wanted, self.doorway.answers)

    def _found(self) -> None:
        """Make this node the only voter of a cluster; as its leader, it takes the others in."""
        self._directory.join(self._clock.token(), self._journal.last_index)
        self._begin_alone(self._engine.term)
        self._found_at_newest_version()
        _log.info("founded a cluster", node=self._node_id, cluster_identity=self._directory.cluster_identity)

    def _found_at_newest_version(self) -> None:
        """What the founder and all whom it takes in know, which have shown it before."""
        known = self._newest_versions()
        version = min(known.get(peer.id, FIRST_VERSION) for peer in self._wanted or (self._node,))
        if version > FIRST_VERSION:
            self._append(founding(version, self._node_id, self._engine.term))

    def _newest_versions(self) -> dict[str, int]:
        cards = {**self.doorway.answers, **self._connected_cards(), self._node_id: self.doorway.card()}
        return {peer_id: card.newest_version for peer_id, card in cards.items()}

    def recover(self) -> None:
        """Go on alone, as a new cluster that holds what this directory does. Before the first step; to be committed."""
        self._directory.recover(self._clock, self._journal.last_index)
        self._engine.adopt_term(self._engine.term + 1)
        self._begin_alone(self._engine.term)

    def _begin_alone(self, term: int) -> None:
        me = replace(self._node, incarnation=self._directory.incarnation)
        members = Members((me,), cluster_identity=self._directory.cluster_identity)
        self._journal.add(config_entry(members), self._journal.last_index + 1, term)
        self._changes.refresh()
        self._changes.directory_changed()
        self._guard.elections.begin()
        self._shows_another = True

    def _members_applied(self, members: Members) -> None:
        incarnation = members.incarnation(self._node_id)
        if self._directory.taken_in(members.cluster_identity, incarnation or ""):
            self._shows_another = True
            self._changes.directory_changed()

    def _tell_members(self) -> None:
        if self._told_members != self._membership.members:
            self._told_members = self._membership.members
            self.on_members(self._told_members)

    def _connected_cards(self) -> dict[str, Card]:
        cards = self.doorway.cards
        return {peer_id: cards[peer_id] for peer_id in cards if self._guard.replicator.connected(peer_id)}

    def _notice_state(self) -> None:
        """Whether all is here that was committed when this node came to its leader."""
        if self.snapshot_source or self._received_snapshot is not None:
            self._has_state = False
        elif self._guard.leader_commit_index and not self._has_state:
            self._has_state = self._applier.index >= self._guard.leader_commit_index

    def plight(self) -> str:
        """What keeps this node or its shard from its work, and what to do; "" when nothing does."""
        members = self._membership.members
        return plight(
            Situation(
                node_id=self._node_id,
                directory=self._directory,
                last_index=self._journal.last_index,
                members=members,
                leader_id=self._guard.elections.known_leader_id,
                cards=self._connected_cards() | self.doorway.answers,
                refused=self.doorway.refused(),
                founding_problem=self._founding_problem() if self._directory.founds else "",
                wanted=tuple(peer.id for peer in self._wanted),
            )
        )

    def _take_snapshot(self) -> None:
        receiver, self._received_snapshot = self._received_snapshot, None
        if receiver is None:
            return
        index, term = receiver.header.index, receiver.header.term
        of_another = self._is_of_another_cluster(Card(receiver.header.cluster_identity))
        if index <= self._engine.commit_index or self._leads_in is not None or of_another:
            receiver.discard()
            return
        receiver.install()
        if self._journal.term_at(index) == term:
            # The entries behind it may have been acknowledged, and stay.
            self._journal.compact_to(index)
        else:
            self._journal.restart_at(index, term)
        self._engine.restore(index)
        self._applier.installed(index)
        self._join(receiver.header.cluster_identity)
        self._changes.refresh()
        self._journal.dirty = True

    def _take_proposals(self) -> None:
        if self._leads_in is None:
            self._proposals.refuse_waiting(Fate.NOT_LEADER)
        elif self._transfer.active:
            self._proposals.refuse_waiting(Fate.OVERLOADED)
        elif self._proposals.waits and not self._gathers():
            self._proposals.append_waiting(self._leads_in, self._append)
            self._guard.replicator.send_soon()
            self._gathering_until = self._clock.monotonic() + self._settings.gather_s

    def _gathers(self) -> bool:
        """Whether proposals wait for company: while earlier ones are on their way, but not for long, and not many."""
        return (
            self._clock.monotonic() < self._gathering_until
            and self._proposals.waiting_bytes < self._settings.gather_bytes
            and self._guard.replicator.confirmed_index() < self._journal.last_index
        )

    def _append(self, command: bytes) -> int:
        index = self._journal.last_index + 1
        self._journal.add(COMMAND + command, index, self._engine.term)
        return index

    def _take_changes(self) -> None:
        if self._leads_in is None:
            self._changes.refuse_waiting()
        else:
            self._changes.begin_waiting()

    def _knows_what_is_committed(self) -> bool:
        """A new leader does once an entry of its own term is (Raft 8)."""
        return self._journal.term_at(self._engine.commit_index) == self._leads_in

    def _begin_reads(self) -> None:
        if self._reads.waits and self._knows_what_is_committed():
            self._reads.begin(self._guard.replicator.begin_round(), self._engine.commit_index)

    def _notice_role(self) -> None:
        leads_in = self._engine.term if self._engine.role is Role.LEADER else None
        if leads_in != self._leads_in:
            self._stop_leading()
            self._leads_in = leads_in

    def _stop_leading(self) -> None:
        self._leads_in = None
        self._gathering_until = _AT_ONCE
        self._changes.stop_leading()
        self._proposals.lose()
        self._reads.refuse(Fate.NOT_LEADER)
        if self._announced:
            self._announced = False
            self._on_leadership(None)

    def _announce_leadership(self) -> None:
        if self._leads_in is None or self._announced:
            return
        if self._journal.term_at(self._applier.index) == self._leads_in:
            self._announced = True
            self._on_leadership(self._leads_in)

    def _send_appends(self) -> None:
        """Send what the leader of a term that is on its disk has for its followers; they write while it does.

        The commit index counts this node's log, and moves when acknowledgements come: in a later step, when it is
        durable here. An entry that this node loses by a crash before is one that followers may hold, and is no other's.
        """
        if self._leads_in is None or self._leads_in != self._durable_term:
            return
        # The only voter commits what is on its own disk alone, and must not tell a learner before it is there.
        if self._engine.commit_index > self._durable_index:
            return
        outbox = self._guard.outbox
        for peer_id, message in outbox:
            if isinstance(message, AppendEntries):
                self._send(peer_id, message)
        outbox[:] = [each for each in outbox if not isinstance(each[1], AppendEntries)]

    def _send_all(self) -> None:
        outbox = self._guard.outbox
        for peer_id, message in outbox:
            # What was said in a term that this step has left may speak of entries that are gone.
            if message.term == self._engine.term:
                self._send(peer_id, message)
        outbox.clear()

    def _make_calls(self, endings: list[Call]) -> None:
        calls = endings[:]
        endings.clear()
        for call in calls:
            try:
                call()
            except Exception:  # noqa: BLE001 - whoever proposed must not stop the node
                _log.exception("a callback of a proposal or read failed; its outcome stands")

    def _need_snapshot(self, peer_id: str) -> None:
        if not self.snapshot_source and self._received_snapshot is None:
            self.snapshot_source = peer_id
            self.on_work()

    def _is_behind(self) -> bool:
        # What is not committed does not count: taking no more could keep it from ever being committed.
        unapplied_bytes = self._journal.bytes_after(self._applier.index) - self._journal.bytes_after(
            self._engine.commit_index
        )
        return unapplied_bytes > self._settings.max_unapplied_bytes

    def _compaction_due(self) -> int | None:
        connected = self._guard.replicator.connected if self._leads_in is not None else lambda _peer_id: False
        needed = [self._engine.match_index(peer_id) for peer_id in self._changes.peer_ids if connected(peer_id)]
        return compaction_due(self._journal, self._settings, self._applier.index, needed)


def _nothing() -> None:
    pass


def _ignore(_members: Members) -> None:
    pass
