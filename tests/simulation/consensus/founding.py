"""A cluster that has been founded, with all its voters: where a run begins that is not about founding."""

from raftsched.consensus.directory import open_directory
from raftsched.consensus.journal import Journal
from raftsched.consensus.membership import Members, config_entry
from raftsched.consensus.messages import NO_OP
from raftsched.ports import Peer
from tests.simulation.consensus.member import CLUSTER_ID, Member
from tests.simulation.consensus.world import NodeClock, World

IDENTITY = "f0" * 16


def found_together(world: World, members: list[Member]) -> None:
    """Give all disks the entry that names them as the voters, as if the others had been taken in."""
    directories = {}
    for member in members:
        clock = NodeClock(world, member.id, 0)
        directories[member.id] = open_directory(member.disk, clock, cluster_id=CLUSTER_ID, place="0")
        directories[member.id].join(IDENTITY, 1)
    voters = tuple(Peer(member.id, "", directories[member.id].incarnation) for member in members)
    entry = config_entry(Members(voters, cluster_identity=IDENTITY))
    for member in members:
        journal = Journal(member.disk, member.id)
        journal.add(NO_OP, 1, 0)
        journal.add(entry, 2, 0)
        member.disk.commit()
