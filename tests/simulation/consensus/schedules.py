"""Schedules made by hand, for what random faults meet too seldom; each passes, and fails without its guard."""

from collections.abc import Callable

from raftsched.consensus.messages import AppendReply, AppendResult, Message
from raftsched.consensus.snapshot import SnapshotReceiver
from tests.simulation.consensus.member import Member
from tests.simulation.consensus.run import Simulation


class Stage(Simulation):
    """A calm group whose links and clients do only what the schedule says."""

    def __init__(self, nodes: int) -> None:
        super().__init__(7, "calm", nodes)
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
            self.wait(0.01)

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

        def deliver_and_keep(sender_id: str, message: Message) -> None:
            if sender_id == source.id and isinstance(message, AppendReply) and message.result is AppendResult.ACCEPTED:
                kept.append(message)
            deliver(sender_id, message)

        target.deliver = deliver_and_keep  # type: ignore[method-assign]
        return kept

    def hand_over(self, target: Member) -> None:
        group = self.leader.group
        assert group is not None
        group.transfer_leadership(target.id, lambda problem: None)
        self.wait_for(lambda: target.announced is not None)


def earlier_leadership() -> None:
    """An acknowledgement reaches the leader of a later term: what it speaks of was cut since."""
    stage = Stage(5)
    first, (second, *others) = stage.leader, stage.followers()
    kept = stage.keep_acknowledgements(second, first)
    stage.cut([first, second])
    stage.propose(first, 8)
    stage.wait_for(lambda: second.group is not None and second.group.status().last_index == _last(first))
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
    assert follower.group is not None
    follower.group.install_snapshot(receiver)
    stage.wait(0.5)
    stage.converge()


def disk_lost() -> None:
    """Acknowledgements from before a follower lost its disk come after; the leader sends it everything anew."""
    stage = Stage(3)
    leader, follower = stage.leader, stage.followers()[0]
    kept = stage.keep_acknowledgements(follower, leader)
    stage.propose(leader, 5)
    stage.wait(0.5)
    follower.lose_disk()
    stage.checks.disk_lost(follower)
    deliver, old = leader.deliver, kept[:]

    def deliver_and_repeat(sender_id: str, message: Message) -> None:
        deliver(sender_id, message)
        if isinstance(message, AppendReply) and message.result is AppendResult.REJECTED:
            for late in old:
                deliver(sender_id, late)

    leader.deliver = deliver_and_repeat  # type: ignore[method-assign]
    follower.start()
    stage.converge()


def won_and_lost_at_once() -> None:
    """A paused candidate finds on waking the votes that make it leader, and after them the leader of a later term."""
    stage = Stage(3)
    stage.propose(stage.leader, 3)
    stage.wait(0.5)
    first = stage.leader
    candidates: list[Member] = []
    for member in stage.members.values():
        member.on_candidacy = candidates.append
    first.kill()
    stage.wait_for(lambda: bool(candidates))
    candidate = candidates[0]
    stage.wait(0.004)
    candidate.pause()
    first.start()
    stage.wait_for(lambda: any(member.announced is not None for member in stage.members.values()))
    stage.wait(0.1)
    candidate.resume()
    stage.converge()


SCHEDULES = [
    won_and_lost_at_once,
    earlier_leadership,
    disk_lost,
    snapshot_comes_late,
]


def _last(member: Member) -> int:
    assert member.group is not None
    return member.group.status().last_index
