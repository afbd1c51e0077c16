"""Schedules made by hand, of disks that are lost, restored and rolled back."""

from tests.simulation.consensus.member import Disk, Member
from tests.simulation.consensus.schedules import Stage

_LONG_S = 6.0
"""Several election timeouts: who could lead, leads."""


def wiped_majority() -> None:
    """Two of three lose their disks while the third is down: they found nothing, and the third goes on by recovery."""
    stage = Stage(3)
    keeper, others = stage.leader, stage.followers()
    stage.propose(keeper, 5)
    stage.wait(0.5)
    keeper.kill()
    for member in others:
        member.founds = True
        _give(stage, member, Disk())
    stage.wait(_LONG_S)
    for member in others:
        stage.propose(member, 2)
    keeper.start()
    stage.wait(_LONG_S)
    assert all(member.announced is None for member in stage.members.values())
    keeper.kill()
    keeper.recovers = True
    keeper.start()
    stage.converge()


def voter_of_yesterday() -> None:
    """A voter with an old copy of its directory meets the one that lacks what it acknowledged since."""
    stage = Stage(3)
    leader, (restored, away) = stage.leader, stage.followers()
    copy = _copy(stage, restored)
    _acknowledge_without(stage, away)
    leader.kill()
    _give(stage, restored, copy)
    away.start()
    stage.wait(_LONG_S)
    leader.start()
    stage.converge()


def voter_that_was_rolled_back() -> None:
    """The same, below the file system: nothing on the disk tells, but the others have seen a start that it lacks."""
    stage = Stage(3)
    leader, (restored, away) = stage.leader, stage.followers()
    copy = _copy(stage, restored)
    restored.kill()
    restored.start()
    stage.wait(2.0)
    _acknowledge_without(stage, away)
    leader.kill()
    _give(stage, restored, copy, in_place=True)
    away.start()
    stage.wait(_LONG_S)
    leader.start()
    stage.converge()


def two_lost_of_five() -> None:
    """The three that remember take both in again, while a third one is killed in between."""
    stage = Stage(5)
    first, second, third = stage.followers()[:3]
    stage.propose(stage.leader, 5)
    stage.wait(0.5)
    for member in (first, second):
        _give(stage, member, Disk())
    third.kill()
    stage.wait(1.0)
    third.start()
    stage.converge()


def lost_again_on_its_way_back() -> None:
    """A node that is being taken in loses its disk a second time, and the leader changes meanwhile."""
    stage = Stage(3)
    lost = stage.followers()[0]
    stage.propose(stage.leader, 5)
    _give(stage, lost, Disk())
    stage.wait(0.4)
    _give(stage, lost, Disk())
    stage.wait_for(lambda: stage._leader() is not None)
    stage.leader.kill()
    stage.wait(0.5)
    for member in stage.members.values():
        member.start()
    stage.converge()


DISK_SCHEDULES = [
    wiped_majority,
    voter_of_yesterday,
    voter_that_was_rolled_back,
    two_lost_of_five,
    lost_again_on_its_way_back,
]


def _copy(stage: Stage, member: Member) -> Disk:
    stage.propose(stage.leader, 3)
    stage.wait(0.5)
    return member.disk.copy()


def _acknowledge_without(stage: Stage, away: Member) -> None:
    away.kill()
    stage.propose(stage.leader, 5)
    stage.wait(0.5)


def _give(stage: Stage, member: Member, disk: Disk, *, in_place: bool = False) -> None:
    member.change_disk(disk, in_place=in_place)
    stage.checks.disk_changed(member)
    member.start()
