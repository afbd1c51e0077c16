"""Schedules made by hand, for what random faults meet too seldom; each passes, and fails without its guard."""

from collections.abc import Callable

from raftsched.consensus.directory import Card
from raftsched.consensus.membership import ChangeKind, MemberChange
from raftsched.consensus.messages import AppendEntries, AppendReply, AppendResult, Message
from raftsched.consensus.snapshot import SnapshotReceiver
from raftsched.ports import Role
from tests.simulation.consensus.member import Member
from tests.simulation.consensus.run import Simulation


class Stage(Simulation):
    """A calm shard whose links and clients do only what the schedule says."""

    def __init__(self, nodes: int, profile: str = "calm", *, old: bool = False) -> None:
        """Of the profile, only the nodes that may join are there. ``old``: directories from before identities."""
        super().__init__(7, profile, nodes, old=old)
        self.network.has_spikes = False
        for member in self.members.values():
            member.start()
        self.wait_for(lambda: self._leader() is not None)
        self.wait(1.0)

    @property
    def leader(self) -> Member:
        found = self._leader()
        assert found is not None
        return found

    def followers(self) -> list[Member]:
        return [member for member in self.members.values() if member is not self.leader]

    def wait(self, seconds: float) -> None:
        self.world.run_until(self.world.now + seconds)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = self.world.now + 20.0
        while not condition():
            assert self.world.now < end, "the schedule does not come to pass"
            self.wait(0.001)

    def propose(self, member: Member, count: int) -> None:
        for _ in range(count):
            self.workload.propose(member, b"%024d" % len(self.workload.operations))

    def cut(self, one_side: list[Member], *, cut: bool = True) -> None:
        """Separate these from the others, or bring them together again."""
        inside = {member.id for member in one_side}
        for (source, target), stream in self.network.streams.items():
            if (source in inside) != (target in inside):
                if cut:
                    stream.break_off()
                    stream.cut_off()
                else:
                    stream.heal()
                    stream.dial()

    def keep_acknowledgements(self, source: Member, target: Member) -> list[Message]:
        """Collect what arrives of them."""
        kept: list[Message] = []
        deliver = target.deliver

        def deliver_and_keep(sender_id: str, message: Message, card: Card | None = None) -> None:
            if sender_id == source.id and isinstance(message, AppendReply) and message.result is AppendResult.ACCEPTED:
                kept.append(message)
            deliver(sender_id, message, card)

        target.deliver = deliver_and_keep
        return kept

    def change(self, member: Member, kind: ChangeKind, node_id: str) -> list[str]:
        """Ask for a change of the members; what comes of it."""
        said: list[str] = []
        assert member.shard is not None
        member.shard.change_members(MemberChange(kind, self.members[node_id].peer()), said.append)
        return said

    def make_learner(self, node_id: str) -> None:
        """Add it, and wait until it has caught up."""
        assert self.change(self.leader, ChangeKind.ADD_LEARNER, node_id) == []
        self.wait_for(lambda: _last(self.members[node_id]) == _last(self.leader))
        self.wait(0.5)

    def hand_over(self, target: Member) -> None:
        shard = self.leader.shard
        assert shard is not None
        shard.transfer_leadership(target.id, lambda problem: None)
        self.wait_for(lambda: target.announced is not None)


def earlier_leadership() -> None:
    """An acknowledgement reaches the leader of a later term: what it speaks of was cut since."""
    stage = Stage(5)
    first, (second, *others) = stage.leader, stage.followers()
    kept = stage.keep_acknowledgements(second, first)
    stage.cut([first, second])
    stage.propose(first, 8)
    stage.wait_for(lambda: second.shard is not None and second.shard.status().last_index == _last(first))
    stage.wait_for(lambda: any(member.announced is not None for member in others))
    stage.cut([first, second], cut=False)
    stage.wait_for(lambda: _last(first) == _last(others[0]) == _last(second))
    stage.hand_over(first)
    stage.cut([second])
    stage.propose(first, 12)
    stage.wait(0.3)
    for message in kept[:]:
        first.deliver(second.id, message)
    stage.wait(0.3)
    stage.cut([second], cut=False)
    stage.converge()


def snapshot_comes_late() -> None:
    """By the time the snapshot is there, the follower has what it holds, and more."""
    stage = Stage(3)
    follower = stage.followers()[0]
    stage.propose(stage.leader, 3)
    stage.wait(0.5)
    receiver = SnapshotReceiver(follower.disk)
    with stage.leader.sender.parts() as parts:
        for part in parts:
            receiver.add(part)
    stage.propose(stage.leader, 3)
    stage.wait(0.5)
    assert follower.shard is not None
    follower.shard.install_snapshot(receiver)
    stage.wait(0.5)
    stage.converge()


def disk_lost() -> None:
    """Acknowledgements from before a follower lost its disk come after; the leader sends it everything anew."""
    stage = Stage(3, old=True)
    leader, follower = stage.leader, stage.followers()[0]
    kept = stage.keep_acknowledgements(follower, leader)
    stage.propose(leader, 5)
    stage.wait(0.5)
    follower.lose_disk()
    stage.checks.disk_changed(follower)
    deliver, old = leader.deliver, kept[:]

    def deliver_and_repeat(sender_id: str, message: Message, card: Card | None = None) -> None:
        deliver(sender_id, message, card)
        if isinstance(message, AppendReply) and message.result is AppendResult.REJECTED:
            for late in old:
                deliver(sender_id, late)

    leader.deliver = deliver_and_repeat
    follower.start()
    stage.converge()


def won_and_lost_at_once() -> None:
    """A paused candidate finds on waking the votes that make it leader, and after them the leader of a later term."""
    stage = Stage(3)
    # So that the one who votes for the candidate does so before it stands itself.
    stage.network.base_delay_s = 0.0005
    stage.propose(stage.leader, 3)
    stage.wait(0.5)
    first = stage.leader
    candidates: list[Member] = []
    for member in stage.members.values():
        member.on_candidacy = candidates.append
    first.kill()
    stage.wait_for(lambda: bool(candidates))
    candidate = candidates[0]
    stage.wait(0.002)
    candidate.pause()
    first.start()
    stage.wait_for(lambda: any(member.announced is not None for member in stage.members.values()))
    stage.wait(0.1)
    candidate.resume()
    stage.converge()


def change_in_the_first_moment() -> None:
    """A new leader removes its predecessor, whose own change of the members hangs (diss. 4.1, the erratum of 2015)."""
    stage = Stage(4, "members")
    first, joiner = stage.leader, stage.members["x"]
    stage.make_learner("x")
    others = [member for member in stage.members.values() if member.id in "abcd" and member is not first]
    stage.cut([first, joiner])
    stage.change(first, ChangeKind.PROMOTE, "x")
    stage.wait_for(lambda: any(member.role is Role.LEADER and _term(member) > 1 for member in others))
    second = next(member for member in others if member.role is Role.LEADER)
    near, far = (member for member in others if member is not second)
    deliver = far.deliver

    def deliver_no_entries(sender_id: str, message: Message, card: Card | None = None) -> None:
        if not (sender_id == second.id and isinstance(message, AppendEntries)):
            deliver(sender_id, message, card)

    far.deliver = deliver_no_entries
    stage.change(second, ChangeKind.REMOVE, first.id)
    stage.wait(0.2)
    stage.cut([first, joiner], cut=False)
    stage.cut([second, near])
    stage.wait(6.0)
    far.deliver = deliver
    stage.cut([second, near], cut=False)
    stage.converge()


def members_are_cut_from_the_log() -> None:
    """A change that was never committed is gone with its entry, also for who asked for it; another one follows."""
    stage = Stage(4, "members")
    first = stage.leader
    near, far, gone = (member for member in stage.members.values() if member.id in "abcd" and member is not first)
    stage.cut([first])
    stage.change(first, ChangeKind.REMOVE, gone.id)
    stage.wait_for(lambda: any(member.announced is not None for member in (near, far, gone)))
    stage.wait_for(lambda: first.role is not Role.LEADER)
    stage.cut([first], cut=False)
    stage.wait(3.0)
    if stage.leader is not near:
        stage.hand_over(near)
    stage.wait(1.0)
    stage.cut([first, far])
    said = stage.change(near, ChangeKind.REMOVE, far.id)
    stage.wait(6.0)
    assert said == [""], said
    stage.cut([first, far], cut=False)
    stage.converge()


def two_changes_at_once() -> None:
    """A leader that is cut off removes one voter after the other, until it is a majority by itself."""
    stage = Stage(3, "members")
    leader = stage.leader
    stage.cut([leader])
    said = [stage.change(leader, ChangeKind.REMOVE, member.id) for member in stage.followers() if member.id in "abc"]
    stage.propose(leader, 3)
    stage.wait(6.0)
    assert any(said), said
    stage.cut([leader], cut=False)
    stage.converge()


def learner_counts_for_nothing() -> None:
    """A leader that only learners hear commits nothing."""
    stage = Stage(2, "members")
    leader = stage.leader
    stage.make_learner("x")
    (follower,) = (member for member in stage.followers() if member.id in "ab")
    stage.cut([follower])
    stage.propose(leader, 3)
    stage.wait(6.0)
    stage.cut([follower], cut=False)
    stage.converge()


def only_voter_loses_an_entry() -> None:
    """The disk of the only voter refuses an entry, of which its learner must not have heard as committed."""
    stage = Stage(1, "members")
    leader = stage.leader
    stage.make_learner("x")
    for _ in range(3):
        leader.disk.fail_next_commit = True
        stage.propose(leader, 1)
        stage.wait_for(leader.is_down)
        stage.wait_for(lambda: leader.announced is not None)
        stage.wait(1.0)
    stage.converge()


SCHEDULES = [
    only_voter_loses_an_entry,
    change_in_the_first_moment,
    members_are_cut_from_the_log,
    two_changes_at_once,
    learner_counts_for_nothing,
    won_and_lost_at_once,
    earlier_leadership,
    disk_lost,
    snapshot_comes_late,
]


def _term(member: Member) -> int:
    assert member.shard is not None
    return member.shard.status().term


def _last(member: Member) -> int:
    assert member.shard is not None
    return member.shard.status().last_index
