"""What goes wrong in a run, and when."""

from collections.abc import Callable
from dataclasses import dataclass

from raftsched.consensus.membership import Change, ChangeKind
from raftsched.ports import Peer
from tests.simulation.consensus.member import Member, Members
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
    late_s: float = 1.0
    base_delays_s: tuple[float, ...] = (0.0002, 0.002, 0.02)


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

    def __init__(self, world: World, network: Network, members: Members, profile: Profile) -> None:
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
        group = self._leader().group
        if group is not None:
            self._count("transfers")
            group.transfer_leadership("", lambda problem: None)

    def _change_members(self) -> None:
        """Ask a leader for a change that makes sense to it; now and then for two at once."""
        group = self._leader().group
        if group is None:
            return
        for _ in range(self._random.choice([1, 1, 2])):
            status = group.status()
            outside = [id_ for id_ in self._members if id_ not in status.voters + status.learners]
            changes = [Change(ChangeKind.ADD_LEARNER, Peer(node_id, "")) for node_id in outside]
            changes += [Change(ChangeKind.PROMOTE, Peer(node_id, "")) for node_id in status.learners] * 2
            changes += [Change(ChangeKind.REMOVE, Peer(node_id, "")) for node_id in status.voters + status.learners[:1]]
            change = self._random.choice(changes)
            self._world.note("asks", change.kind.name, change.peer.id)
            group.change_members(change, self._changed)

    def _changed(self, problem: str) -> None:
        self._world.note("change", problem)
        self._count("member changes" if not problem else "member changes refused")

    def _disk_error(self) -> None:
        self._count("disk errors")
        self._any().disk.fail_next_commit = True

    def _later(self, low_s: float, high_s: float, action: Callable[[], None]) -> None:
        self._world.after(self._random.uniform(low_s, high_s), action)
