"""What goes wrong in a run, and when."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from raftsched_proto.internal.v1.raft_pb2 import DataDirectory, OwnDirectory

from raftsched.consensus.membership import ChangeKind, MemberChange
from raftsched.ports import Table
from tests.simulation.consensus.checks import Checks
from tests.simulation.consensus.member import Disk, Member, Members
from tests.simulation.consensus.network import Network
from tests.simulation.consensus.world import World


@dataclass(frozen=True)
class Profile:
    """How often each kind of fault begins, in mean seconds between two; 0: never."""

    resets_s: float = 0.0
    cuts_s: float = 0.0
    partitions_s: float = 0.0
    slow_links_s: float = 0.0
    kills_s: float = 0.0
    leader_kills_s: float = 0.0
    pauses_s: float = 0.0
    longest_pause_s: float = 5.0
    candidate_kills: float = 0.0
    """Not a period, but the share of candidates that die before anyone hears of their candidacy."""
    disk_errors_s: float = 0.0
    restart_storms_s: float = 0.0
    transfers_s: float = 0.0
    member_changes_s: float = 0.0
    disk_losses_s: float = 0.0
    """Of disks that are not needed: those that remember keep a majority."""
    old_copies_s: float = 0.0
    founds: bool = False
    """The run begins with empty disks, one of which founds."""
    late_s: float = 1.0
    base_delays_s: tuple[float, ...] = (0.0002, 0.002, 0.02)


_DISKS = Profile(
    disk_losses_s=2.5,
    old_copies_s=2.5,
    resets_s=2,
    cuts_s=6,
    partitions_s=8,
    kills_s=6,
    leader_kills_s=6,
    pauses_s=10,
    disk_errors_s=20,
    restart_storms_s=12,
    transfers_s=10,
    late_s=3.0,
)

PROFILES = {
    "calm": Profile(),
    "resets": Profile(resets_s=0.5),
    "partitions": Profile(partitions_s=4, cuts_s=3),
    "kills": Profile(kills_s=4, leader_kills_s=4),
    "pauses": Profile(pauses_s=2.5),
    "handovers": Profile(transfers_s=0.3, resets_s=0.4, leader_kills_s=6, late_s=4.0),
    "candidates": Profile(pauses_s=1.0, longest_pause_s=1.5, candidate_kills=0.6),
    "far": Profile(resets_s=2, leader_kills_s=2, base_delays_s=(0.05, 0.1)),
    "members": Profile(member_changes_s=0.15, resets_s=2, leader_kills_s=6, cuts_s=6),
    "members and everything": Profile(
        member_changes_s=0.3,
        resets_s=1.5,
        cuts_s=6,
        partitions_s=8,
        slow_links_s=6,
        kills_s=8,
        leader_kills_s=8,
        pauses_s=8,
        disk_errors_s=15,
        restart_storms_s=20,
        transfers_s=8,
        late_s=3.0,
    ),
    "disks": _DISKS,
    "founding": replace(_DISKS, founds=True),
    "everything": Profile(
        resets_s=1.5,
        cuts_s=6,
        partitions_s=8,
        slow_links_s=6,
        kills_s=8,
        leader_kills_s=8,
        pauses_s=8,
        disk_errors_s=15,
        restart_storms_s=20,
        transfers_s=8,
        late_s=3.0,
    ),
}


class Faults:
    """Draws faults until it is told to stop, then repairs everything."""

    def __init__(
        self, world: World, network: Network, members: Members, profile: Profile, checks: Checks | None = None
    ) -> None:
        """``checks`` say which disks may be lost; None: none is."""
        assert checks is not None or not (profile.disk_losses_s or profile.old_copies_s)
        self._checks = checks
        self._copies: dict[str, list[Disk]] = {node_id: [] for node_id in members}
        self._world = world
        self._network = network
        self._members = members
        self._profile = profile
        self._random = world.random("faults")
        self._stopped = False
        self.counts: dict[str, int] = {}
        network.late_s = profile.late_s
        network.base_delay_s = self._random.choice(profile.base_delays_s)

    def begin(self) -> None:
        profile = self._profile
        self._repeat(profile.transfers_s, self._transfer)
        self._repeat(profile.member_changes_s, self._change_members)
        if len(self._members) > 1:
            self._repeat(profile.resets_s, self._reset)
            self._repeat(profile.cuts_s, self._cut)
            self._repeat(profile.partitions_s, self._partition)
            self._repeat(profile.slow_links_s, self._slow)
        self._repeat(profile.kills_s, lambda: self._kill(self._any()))
        self._repeat(profile.leader_kills_s, lambda: self._kill(self._leader()))
        self._repeat(profile.pauses_s, self._pause)
        self._repeat(profile.disk_errors_s, self._disk_error)
        self._repeat(profile.restart_storms_s, self._restart_all)
        self._repeat(profile.disk_losses_s, self._lose_disk)
        self._repeat(profile.old_copies_s / 2, self._copy_disk)
        self._repeat(profile.old_copies_s, self._restore_copy)
        if profile.candidate_kills:
            for member in self._members.values():
                member.on_candidacy = self._kill_candidate

    def end(self) -> None:
        """From now on all is well."""
        self._stopped = True
        self._world.note("all faults end")
        self._network.heal_all()
        for member in self._members.values():
            member.disk.fail_next_commit = False
            member.resume()
            member.start()

    def _repeat(self, mean_s: float, fault: Callable[[], None]) -> None:
        if not mean_s:
            return

        def strike() -> None:
            if not self._stopped:
                fault()
                self._world.after(self._random.expovariate(1 / mean_s), strike)

        self._world.after(self._random.expovariate(1 / mean_s), strike)

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _any(self) -> Member:
        return self._random.choice(list(self._members.values()))

    def _leader(self) -> Member:
        leading = [member for member in self._members.values() if member.announced is not None]
        return self._random.choice(leading) if leading else self._any()

    def _reset(self) -> None:
        self._count("resets")
        self._random.choice(list(self._network.streams.values())).break_off()

    def _cut(self) -> None:
        self._count("cuts")
        stream = self._random.choice(list(self._network.streams.values()))
        stream.cut_off()
        self._later(0.1, 5, stream.heal)

    def _partition(self) -> None:
        self._count("partitions")
        ids = list(self._members)
        self._random.shuffle(ids)
        inside = set(ids[: self._random.randint(1, len(ids) - 1)])
        if self._random.random() < 0.4:
            inside = {self._leader().id}
        one_way = self._random.random() < 0.3
        streams = [
            stream
            for (source, target), stream in self._network.streams.items()
            if (source in inside) != (target in inside) and not (one_way and source in inside)
        ]
        self._world.note("partition", sorted(inside), "one way" if one_way else "")
        for stream in streams:
            stream.cut_off()

        def heal() -> None:
            self._world.note("partition ends")
            for stream in streams:
                stream.heal()

        self._later(0.1, 6, heal)

    def _slow(self) -> None:
        self._count("slow links")
        stream = self._random.choice(list(self._network.streams.values()))
        stream.slow = True

        def heal() -> None:
            stream.slow = False

        self._later(0.5, 4, heal)

    def _kill(self, member: Member) -> None:
        self._count("kills")
        member.kill()
        self._later(0.01, 4, member.start)

    def _kill_candidate(self, member: Member) -> None:
        if not self._stopped and self._random.random() < self._profile.candidate_kills:
            self._kill(member)

    def _restart_all(self) -> None:
        self._count("restart storms")
        for member in self._members.values():
            member.kill()
            self._later(0.0, 1.5, member.start)

    def _pause(self) -> None:
        self._count("pauses")
        member = self._leader() if self._random.random() < 0.5 else self._any()
        member.pause()
        self._later(0.05, self._profile.longest_pause_s, member.resume)

    def _transfer(self) -> None:
        shard = self._leader().shard
        if shard is not None:
            self._count("transfers")
            shard.transfer_leadership("", lambda problem: None)

    def _change_members(self) -> None:
        """Ask a leader for a change that makes sense to it; now and then for two at once."""
        shard = self._leader().shard
        if shard is None:
            return
        for _ in range(self._random.choice([1, 1, 2])):
            status = shard.status()
            # Who is down has shown no directory.
            up = [id_ for id_, member in self._members.items() if not member.is_down()]
            outside = [id_ for id_ in up if id_ not in status.voters + status.learners]
            changes = [MemberChange(ChangeKind.ADD_LEARNER, self._members[node_id].peer()) for node_id in outside]
            changes += [
                MemberChange(ChangeKind.PROMOTE, self._members[node_id].peer()) for node_id in status.learners
            ] * 2
            changes += [
                MemberChange(ChangeKind.REMOVE, self._members[node_id].peer())
                for node_id in status.voters + status.learners[:1]
            ]
            change = self._random.choice(changes)
            self._world.note("asks", change.kind.name, change.peer.id)
            shard.change_members(change, self._changed)

    def _changed(self, problem: str) -> None:
        self._world.note("change", problem)
        self._count("member changes" if not problem else "member changes refused")

    def _disk_error(self) -> None:
        self._count("disk errors")
        self._any().disk.fail_next_commit = True

    def _lose_disk(self) -> None:
        member = self._any()
        if not self._may_forget(member):
            self._count("disks that were needed")
            return
        self._count("disks lost")
        # A service file in which the flag was left.
        member.founds = member.founds or self._random.random() < 0.5
        self._replace_disk(member, Disk(), in_place=False)

    def _may_forget(self, member: Member) -> bool:
        return self._checks is not None and self._checks.may_forget(member)

    def _copy_disk(self) -> None:
        member = self._any()
        self._copies[member.id] = [*self._copies[member.id][-3:], member.disk.copy()]

    def _restore_copy(self) -> None:
        member = self._any()
        if not self._copies[member.id] or not self._may_forget(member):
            return
        copy = self._random.choice(self._copies[member.id])
        in_place = self._random.random() < 0.5 and self._others_remember(member, copy)
        copied = copy.copy()
        if in_place:
            self._count("disks rolled back")
        self._count("old copies")
        self._replace_disk(member, copied, in_place=in_place)

    def _others_remember(self, member: Member, copy: Disk) -> bool:
        """Whether all others have on their disks that this one was started after the copy was made."""
        starts = _starts(copy, OWN_ROW)
        return starts > 0 and all(
            _starts(other.disk, PEER_ROW + member.id.encode(), _incarnation(copy)) > starts
            for other in self._members.values()
            if other is not member
        )

    def _replace_disk(self, member: Member, disk: Disk, *, in_place: bool) -> None:
        member.change_disk(disk, in_place=in_place)
        if self._checks is not None:
            self._checks.disk_changed(member)
        self._later(0.01, 4, member.start)

    def _later(self, low_s: float, high_s: float, action: Callable[[], None]) -> None:
        self._world.after(self._random.uniform(low_s, high_s), action)


OWN_ROW, PEER_ROW = b"directory", b"directory of "


def _incarnation(disk: Disk) -> str:
    with disk.read() as view:
        return OwnDirectory.FromString(view.get(Table.RAFT, OWN_ROW) or b"").directory.incarnation


def _starts(disk: Disk, key: bytes, incarnation: str = "") -> int:
    """By the row of a directory's own, or of a peer's; 0 when it is of another incarnation."""
    with disk.read() as view:
        row = view.get(Table.RAFT, key) or b""
    found = OwnDirectory.FromString(row).directory if key == OWN_ROW else DataDirectory.FromString(row)
    return found.starts if incarnation in ("", found.incarnation) else 0
