"""Each guard switched off, one at a time: what the simulation must find then.

A checker that nothing can fail proves nothing. Some guards only keep the shard lively or quick; their rows say so, and
which test holds them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from raftsched.consensus import doorway, guard, pending, replicator, shard
from raftsched.consensus.applier import Applier
from raftsched.consensus.changes import MemberChanges
from raftsched.consensus.directory import Card, Directory
from raftsched.consensus.elections import Elections
from raftsched.consensus.engine import Engine
from raftsched.consensus.guard import Guard
from raftsched.consensus.journal import Journal
from raftsched.consensus.matching import Accepted, Rejected
from raftsched.consensus.membership import MemberChange, Membership
from raftsched.consensus.messages import AppendEntries, AppendReply, Message, Vote
from raftsched.consensus.replicator import Replicator
from raftsched.consensus.shard import RaftShard
from raftsched.ports import Fate, Role
from tests.simulation.consensus import disks, member, schedules

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutation:
    """One guard, and where its absence shows."""

    guard: str
    switch_off: Callable[[Patch], None]
    finds: tuple[str, ...]
    """How the violation may begin."""
    profile: str = "everything"
    nodes: int = 3
    schedule: Callable[[], None] | None = None
    """Instead of seeds of the profile."""


def cut_at_prev_index(patch: Patch) -> None:
    def examine(log: Journal, commit_index: int, append: AppendEntries) -> Accepted | Rejected:
        if log.term_at(append.prev_index) != append.prev_term:
            return Rejected(min(append.prev_index, log.last_index + 1))
        return Accepted(append.prev_index, append.entries, append.prev_index + len(append.entries))

    patch.setattr(guard, "examine", examine)


def replies_of_any_term_and_probe(patch: Patch) -> None:
    receive = Guard.receive

    def receive_any(self: Guard, peer_id: str, message: object, card: Card) -> None:
        if isinstance(message, AppendReply) and message.term < self.engine.term:
            self.replicator.on_reply(peer_id, message)
        else:
            receive(self, peer_id, message, card)

    patch.setattr(Guard, "receive", receive_any)
    one_epoch(patch)


def one_epoch(patch: Patch) -> None:
    def probe_again(self: replicator._Progress) -> None:
        self.probing = True
        self.forget_in_flight()

    patch.setattr(replicator._Progress, "probe_again", probe_again)


def stale_peers_are_not_told(patch: Patch) -> None:
    on_append = Guard._on_append

    def ignore(self: Guard, peer_id: str, append: AppendEntries) -> None:
        if append.term >= self.engine.term:
            on_append(self, peer_id, append)

    patch.setattr(Guard, "_on_append", ignore)


def no_check_quorum(patch: Patch) -> None:
    conf = Engine._conf

    def patient(self: Engine, settings: object) -> object:
        made = conf(self, settings)
        made.leaderFallbackTimeout = 30.0
        return made

    patch.setattr(Engine, "_conf", patient)


def no_pre_vote(patch: Patch) -> None:
    def stand(self: Elections) -> None:
        self._engine.restart_election_timer()
        self._ready_to_stand_in = self._engine.term
        self._engine.stand_for_election()

    patch.setattr(Elections, "_ask_for_pre_votes", stand)


def no_stickiness(patch: Patch) -> None:
    patch.setattr(Elections, "_leader_is_alive", lambda self: False)


def votes_of_one_peer_add_up(patch: Patch) -> None:
    def on_vote(self: Elections, peer_id: str, message: Vote) -> None:
        if self._engine.role is Role.CANDIDATE and message.granted and message.term == self._engine.term:
            self._engine.receive_vote(peer_id)

    patch.setattr(Elections, "on_vote", on_vote)


def vote_is_not_kept(patch: Patch) -> None:
    patch.setattr(Journal, "setCurrentTerm", _remember_only)


def _remember_only(self: Journal, term: int, vote: str | None) -> None:
    self._term, self._voted_for = term, vote or ""


def send_before_commit(patch: Patch) -> None:
    patch.setattr(RaftShard, "_send_appends", lambda self: self._send_all())


def commit_beyond_what_is_verified(patch: Patch) -> None:
    patch.setattr(guard, "min", lambda leader_commit, _verified: leader_commit, raising=False)


def done_when_appended(patch: Patch) -> None:
    append_waiting = pending.PendingProposals.append_waiting

    def done_at_once(self: pending.PendingProposals, term: int, append: Callable[[bytes], int]) -> None:
        append_waiting(self, term, append)
        for proposal in self._appended:
            if not proposal.over:
                proposal.over = True
                self._end(proposal.done, Fate.DONE, proposal.index.to_bytes(8, "big"))

    patch.setattr(pending.PendingProposals, "append_waiting", done_at_once)


def answer_what_is_on_no_disk_here(patch: Patch) -> None:
    applied = pending.PendingProposals.applied

    def at_once(self: pending.PendingProposals, index: int, term: int, outcome: bytes, _durable_index: int) -> None:
        applied(self, index, term, outcome, index)

    patch.setattr(pending.PendingProposals, "applied", at_once)


def lost_counts_as_refused(patch: Patch) -> None:
    def lose(self: pending.PendingProposals) -> None:
        for proposal in self._appended:
            self._forget(proposal.size_bytes)
            self._end(proposal.done, Fate.NOT_LEADER)
        self._appended.clear()

    patch.setattr(pending.PendingProposals, "lose", lose)


def nobody_is_answered(patch: Patch) -> None:
    def forget(self: pending.PendingProposals) -> None:
        for proposal in self._appended:
            self._forget(proposal.size_bytes)
        self._appended.clear()

    patch.setattr(pending.PendingProposals, "lose", forget)


def reads_without_a_round(patch: Patch) -> None:
    patch.setattr(Replicator, "confirmed_round", lambda self: self._round)


def reads_before_the_own_no_op(patch: Patch) -> None:
    def begin(self: RaftShard) -> None:
        if self._reads.waits:
            self._reads.begin(self._guard.replicator.begin_round(), self._engine.commit_index)

    patch.setattr(RaftShard, "_begin_reads", begin)


def leadership_before_the_own_no_op(patch: Patch) -> None:
    def announce(self: RaftShard) -> None:
        if self._leads_in is not None and not self._announced:
            self._announced = True
            self._on_leadership(self._leads_in)

    patch.setattr(RaftShard, "_announce_leadership", announce)


def applied_index_is_not_restored(patch: Patch) -> None:
    patch.setattr(Applier, "_restored_index", lambda self: self._journal.first_index)


def snapshot_goes_back(patch: Patch) -> None:
    def take(self: RaftShard) -> None:
        receiver, self._received_snapshot = self._received_snapshot, None
        if receiver is not None:
            self.snapshot_source = ""
            receiver.install()
            self._journal.restart_at(receiver.header.index, receiver.header.term)
            self._engine.restore(receiver.header.index)
            self._applier.installed(receiver.header.index)
            self._journal.dirty = True

    patch.setattr(RaftShard, "_take_snapshot", take)


def entries_as_large_as_the_batch(patch: Patch) -> None:
    conf = Engine._conf

    def small(self: Engine, settings: object) -> object:
        made = conf(self, settings)
        made.appendEntriesBatchSizeBytes = 200
        return made

    patch.setattr(Engine, "_conf", small)


def refuse_while_entries_are_not_committed(patch: Patch) -> None:
    def is_behind(self: RaftShard) -> bool:
        return self._journal.bytes_after(self._applier.index) > self._settings.max_unapplied_bytes

    patch.setattr(RaftShard, "_is_behind", is_behind)


def speak_for_a_term_that_is_over(patch: Patch) -> None:
    def send_all(self: RaftShard) -> None:
        for peer_id, message in self._guard.outbox:
            self._send(peer_id, message)
        self._guard.outbox.clear()

    patch.setattr(RaftShard, "_send_all", send_all)


def match_index_never_falls(patch: Patch) -> None:
    def rejected(self: Replicator, peer_id: str, hint: int) -> None:
        self._engine.set_next_index(peer_id, max(self._engine.match_index(peer_id) + 1, hint, 1))
        self._progress[peer_id].probe_again()
        self._resume(peer_id)

    patch.setattr(Replicator, "_rejected", rejected)


def learners_count_at_once(patch: Patch) -> None:
    set_members = Guard.set_members
    patch.setattr(Guard, "set_members", lambda self, voters, learners: set_members(self, voters + learners, ()))


def two_changes_in_flight(patch: Patch) -> None:
    change_problem = MemberChanges._problem

    def problem(self: MemberChanges, change: MemberChange) -> str:
        index, self._membership.index = self._membership.index, 0
        try:
            return change_problem(self, change)
        finally:
            self._membership.index = index

    patch.setattr(MemberChanges, "_problem", problem)


def change_before_the_own_no_op(patch: Patch) -> None:
    patch.setattr(RaftShard, "_knows_what_is_committed", lambda self: True)


def members_stay_when_their_entry_is_cut(patch: Patch) -> None:
    refresh = Membership.refresh

    def refresh_upwards(self: Membership) -> bool:
        entry = self._journal.last_config
        if max(self._applied[0], 0 if entry is None else entry.index) < self.index:
            return False
        return refresh(self)

    patch.setattr(Membership, "refresh", refresh_upwards)


def commit_told_before_it_is_durable(patch: Patch) -> None:
    patch.setattr(RaftShard, "_durable_index", property(lambda self: 1 << 60, lambda self, index: None), raising=False)


def own_disk_counts_before_its_commit(patch: Patch) -> None:
    """Acknowledgements are taken while the commit of a step is under way, and followers told what they commit."""
    receive = RaftShard.receive

    def receive_at_once(self: RaftShard, peer_id: str, message: Message, card: Card) -> bool:
        engine = self._engine
        if not self._committing or engine.role is not Role.LEADER or message.term != engine.term:
            return receive(self, peer_id, message, card)
        commit_index = engine.commit_index
        self._guard.receive(peer_id, message, card)
        self._guard.tick()
        if engine.commit_index > commit_index:
            last, term = self._journal.last_index, self._journal.last_term
            self._send(peer_id, AppendEntries(engine.term, last, term, (), engine.commit_index, 0, 0, oldest=False))
        return True

    patch.setattr(RaftShard, "receive", receive_at_once)


def answers_of_any_directory_count(patch: Patch) -> None:
    patch.setattr(Guard, "_counts", lambda self, peer_id, message, card: True)


def any_directory_stands(patch: Patch) -> None:
    set_may_stand = Elections.set_may_stand
    patch.setattr(Elections, "set_may_stand", lambda self, may_stand: set_may_stand(self, True))


def what_another_directory_held_counts_on(patch: Patch) -> None:
    patch.setattr(Replicator, "forget", lambda self, peer_id: None)


def found_without_asking(patch: Patch) -> None:
    patch.setattr(shard, "founding_problem", lambda node_id, wanted, answers: "")


def votes_belong_to_ids(patch: Patch) -> None:
    patch.setattr(member, "open_directory", lambda store, clock, **_: Directory())


def copies_are_not_told(patch: Patch) -> None:
    opened = member.open_directory
    patch.setattr(member, "open_directory", lambda *given, copied, **more: opened(*given, copied="", **more))


def starts_are_not_remembered(patch: Patch) -> None:
    patch.setattr(doorway, "has_forgotten", lambda known, shown: False)


MUTATIONS = [
    Mutation(
        "a vote belongs to a directory",
        votes_belong_to_ids,
        ("election safety", "state machine safety", "leader completeness", "tables"),
        schedule=disks.wiped_majority,
    ),
    Mutation(
        "founding asks all others",
        found_without_asking,
        ("state machine safety", "log matching", "tables"),
        schedule=disks.wiped_majority,
    ),
    Mutation(
        "a copy is another server",
        copies_are_not_told,
        ("leader completeness", "state machine safety"),
        schedule=disks.voter_of_yesterday,
    ),
    Mutation(
        "others remember starts",
        starts_are_not_remembered,
        ("leader completeness", "state machine safety"),
        schedule=disks.voter_that_was_rolled_back,
    ),
    Mutation(
        "answers of another directory do not count",
        answers_of_any_directory_count,
        ("durability", "match index", "leader completeness", "state machine safety", "check quorum"),
        profile="disks",
    ),
    Mutation("only the named directory stands", any_directory_stands, ("leader",), profile="disks"),
    Mutation(
        "what another directory held is forgotten",
        what_another_directory_held_counts_on,
        ("match index", "durability"),
        profile="disks",
    ),
    Mutation(
        "the only voter tells learners after its commit",
        commit_told_before_it_is_durable,
        ("commit index",),
        schedule=schedules.only_voter_loses_an_entry,
    ),
    Mutation(
        "learners do not count", learners_count_at_once, ("durability",), schedule=schedules.learner_counts_for_nothing
    ),
    Mutation(
        "one change at a time",
        two_changes_in_flight,
        ("durability", "state machine safety", "leader completeness", "check quorum"),
        schedule=schedules.two_changes_at_once,
    ),
    Mutation(
        "no change before the own no-op",
        change_before_the_own_no_op,
        ("leader completeness",),
        schedule=schedules.change_in_the_first_moment,
    ),
    Mutation(
        "members go with their entry",
        members_stay_when_their_entry_is_cut,
        ("leader completeness",),
        schedule=schedules.members_are_cut_from_the_log,
    ),
    Mutation(
        "conflict check before truncation",
        cut_at_prev_index,
        ("commit index", "acknowledged", "IndexError"),
        profile="resets",
    ),
    Mutation("term on replies", replies_of_any_term_and_probe, ("match",), schedule=schedules.earlier_leadership),
    Mutation("epoch on replies", one_epoch, ("no convergence",), schedule=schedules.disk_lost),
    Mutation("match index falls", match_index_never_falls, ("no convergence",), schedule=schedules.disk_lost),
    Mutation("stale peers are told", stale_peers_are_not_told, ("no convergence",), profile="candidates"),
    Mutation("check quorum", no_check_quorum, ("check quorum",), profile="partitions"),
    Mutation("pre-vote", no_pre_vote, ("deposed",), profile="rejoin"),
    Mutation("leader stickiness", no_stickiness, ("deposed",), profile="deaf"),
    Mutation("one vote per peer", votes_of_one_peer_add_up, ("election safety",), profile="far", nodes=5),
    Mutation("durable vote", vote_is_not_kept, ("sync before send",)),
    Mutation("sync before send", send_before_commit, ("sync before send",)),
    Mutation("the own disk counts after its commit", own_disk_counts_before_its_commit, ("commit index",)),
    Mutation("commit within what is verified", commit_beyond_what_is_verified, ("state machine safety",)),
    Mutation(
        "nothing said for a past term",
        speak_for_a_term_that_is_over,
        ("sync before send",),
        schedule=schedules.won_and_lost_at_once,
    ),
    Mutation("done after commit", done_when_appended, ("lost", "stale read")),
    Mutation(
        "early answers only of what is on the own disk", answer_what_is_on_no_disk_here, ("lost",), "kills", nodes=1
    ),
    Mutation("unknown when leadership is lost", lost_counts_as_refused, ("refused and applied",)),
    Mutation("every call is answered", nobody_is_answered, ("no answer",), profile="partitions"),
    Mutation("read index round", reads_without_a_round, ("stale read",), profile="partitions"),
    Mutation("read index after the own no-op", reads_before_the_own_no_op, ("stale read",)),
    Mutation("leadership after the own no-op", leadership_before_the_own_no_op, ("leadership",)),
    Mutation("applied index restored", applied_index_is_not_restored, ("no convergence", "apply", "tables")),
    Mutation(
        "snapshots never go back", snapshot_goes_back, ("commit", "Index"), schedule=schedules.snapshot_comes_late
    ),
    Mutation("only committed entries count", refuse_while_entries_are_not_committed, ("no convergence",)),
    Mutation("batches over the largest entry", entries_as_large_as_the_batch, ("AssertionError",)),
]
