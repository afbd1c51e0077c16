"""One seed, one run: faults for a while, then peace, in which the shard must converge."""

import hashlib
from dataclasses import dataclass, field

import structlog

from raftsched.consensus.settings import Settings
from raftsched.ports import STATE_TABLES, Fate, Role
from tests.simulation.consensus.checks import Checks
from tests.simulation.consensus.faults import PROFILES, Faults
from tests.simulation.consensus.founding import found_together
from tests.simulation.consensus.member import Member, Members
from tests.simulation.consensus.network import Network
from tests.simulation.consensus.workload import Workload
from tests.simulation.consensus.world import Violation, World

CONVERGE_S = 15.0
"""Within so much virtual time after the last fault, all nodes hold the same and one leader serves."""


@dataclass
class Result:
    """How a run ended."""

    seed: int
    profile: str
    nodes: int
    violation: str = ""
    digest: str = ""
    facts: dict[str, object] = field(default_factory=dict)
    trace: list[tuple[object, ...]] = field(default_factory=list)

    @property
    def replay(self) -> str:
        return f"python -m tests.simulation --seed {self.seed} --profile {self.profile} --nodes {self.nodes}"


class Simulation:
    """The parts of one run."""

    def __init__(self, seed: int, profile: str, nodes: int, *, old: bool = False) -> None:
        """``old``: directories from before there were identities."""
        self.world = World(seed)
        self.settings = _settings(self.world, near=max(PROFILES[profile].base_delays_s) < 0.05)
        first = ["a", "b", "c", "d", "e"][:nodes]
        # Those who may join are numbered on.
        ids = [*first, "x", "y"] if PROFILES[profile].member_changes_s else first
        self.network = Network(self.world, ids)
        self.members: Members = {}
        for node_id in ids:
            self.members[node_id] = Member(self.world, self.network, node_id, first, self.settings, self.members)
        self.network.stations.update(self.members)
        self.checks = Checks(self.world, self.network, self.members, self.settings.election_timeout_max_s, first)
        for member in self.members.values():
            member.knows_directories = not old
            member.takes_in = not PROFILES[profile].member_changes_s and not old
        if PROFILES[profile].founds:
            self.members["a"].founds = True
        elif not old:
            found_together(self.world, [self.members[node_id] for node_id in first])
        interval_s = self.world.random("load").choice([0.01, 0.03, 0.1])
        self.workload = Workload(self.world, self.members, self.settings, interval_s)
        self.faults = Faults(self.world, self.network, self.members, PROFILES[profile], self.checks)

    def start(self) -> None:
        for member in self.members.values():
            member.start()
        self.workload.begin()

    def converge(self) -> None:
        """Let the clients finish; then all must agree, and a new proposal must be done."""
        self.workload.stopped = True
        end = self.world.now + CONVERGE_S
        while self.world.now < end and not self._agree():
            self.world.run_until(self.world.now + 0.25)
        if not self._agree():
            raise Violation(f"no convergence within {CONVERGE_S} s: {self._states()}")
        # A transfer that a client asked for last may be under way.
        self.world.run_until(self.world.now + 2 * self.settings.election_timeout_max_s)
        leader = self._leader()
        if leader is None:
            raise Violation(f"no leader after convergence: {self._states()}")
        last = self.workload.propose(leader, b"the last of all commands")
        self.world.run_until(self.world.now + 2.0)
        if last.fate is not Fate.DONE:
            raise Violation(f"after convergence the leader answers {last.fate}")
        self.world.run_until(self.world.now + 8.0)
        if not self._agree() or self._leader() is not leader:
            raise Violation(f"the shard does not stay converged: {self._states()}")
        self.workload.check_end(self._in_shard(leader))

    def _leader(self) -> Member | None:
        return next((member for member in self.members.values() if member.announced is not None), None)

    def _agree(self) -> bool:
        leader = self._leader()
        if leader is None or sum(m.role is Role.LEADER for m in self.members.values()) != 1:
            return False
        inside = self._in_shard(leader)
        shards = [member.shard for member in inside]
        if any(shard is None for shard in shards):
            return False
        statuses = [shard.status() for shard in shards if shard is not None]
        heads = {(s.term, s.leader_id, s.commit_index, s.applied_index, s.last_index) for s in statuses}
        same = len(heads) == 1 and statuses[0].applied_index == statuses[0].last_index
        return same and len({_state(member) for member in inside}) == 1

    def _in_shard(self, leader: Member) -> list[Member]:
        """The members that the leader knows."""
        assert leader.shard is not None
        status = leader.shard.status()
        return [self.members[node_id] for node_id in (*status.voters, *status.learners)]

    def _states(self) -> str:
        return "; ".join(f"{m.id}: {m.shard.status() if m.shard else 'down'}" for m in self.members.values())


_SILENT = 50
"""CRITICAL, which nothing is."""
REJOIN, DEAF = "rejoin", "deaf"
"""Instead of a profile: a follower that was cut off comes back; one does not hear the leader. Neither may depose it."""
FAULT_S = 15.0


def simulate(seed: int, *, profile: str = "everything", nodes: int = 3) -> Result:
    """Run one seed to its end, or to the first violation."""
    result = Result(seed, profile, nodes)
    simulation = Simulation(seed, "calm" if profile in (REJOIN, DEAF) else profile, nodes)
    logging = structlog.get_config()
    # What nodes log of the faults that they meet is no news here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    try:
        simulation.start()
        if profile in (REJOIN, DEAF):
            _cut_off_and_rejoin(simulation, deaf_only=profile == DEAF)
        else:
            simulation.faults.begin()
            simulation.world.run_until(FAULT_S)
            simulation.faults.end()
        simulation.converge()
    except Violation as violation:
        result.violation = str(violation)
    except Exception as error:
        result.violation = f"{type(error).__name__}: {error}"
        result.facts["error"] = error
    finally:
        structlog.configure(**logging)
    workload, members = simulation.workload, simulation.members.values()
    result.trace = simulation.world.trace
    result.digest = hashlib.sha256(repr(result.trace).encode()).hexdigest()[:16]
    result.facts |= {
        "virtual_s": round(simulation.world.now, 1),
        "committed": simulation.checks.last_committed,
        "terms": simulation.checks.last_term,
        "reads": workload.reads_done,
        "snapshots": sum(member.installs for member in members),
        **{fate.value: count for fate, count in workload.answered.items()},
        **simulation.faults.counts,
    }
    return result


def _cut_off_and_rejoin(simulation: Simulation, *, deaf_only: bool) -> None:
    world, network = simulation.world, simulation.network
    network.has_spikes = False
    world.run_until(5.0)
    before = next(member for member in simulation.members.values() if member.announced is not None)
    term = before.announced
    follower = next(member for member in simulation.members.values() if member is not before)
    streams = [stream for ends, stream in network.streams.items() if follower.id in ends]
    if deaf_only:
        # Idle, so that its log is no reason to refuse it a vote.
        simulation.workload.stopped = True
        world.run_until(world.now + 2.0)
        streams = [network.streams[before.id, follower.id]]
    for stream in streams:
        stream.cut_off()
    world.run_until(world.now + world.random("rejoin").uniform(2, 8))
    for stream in streams:
        stream.heal()
    world.run_until(world.now + 5.0)
    if before.announced != term:
        raise Violation(f"deposed: {before.id} led in {term} until {follower.id} came back")


def _settings(world: World, *, near: bool) -> Settings:
    """Small bounds, so that each of them is met."""
    draw = world.random("settings")
    shortest_s, longest_s = draw.choice([(0.7, 1.4), (0.4, 0.6)] if near else [(0.7, 1.4)])
    return Settings(
        election_timeout_min_s=shortest_s,
        election_timeout_max_s=longest_s,
        batch_bytes=draw.choice([150, 400, 4000]),
        in_flight_bytes=draw.choice([300, 2000, 20_000]),
        max_command_bytes=600,
        max_proposals=64,
        max_proposal_bytes=8000,
        proposal_deadline_s=3.0,
        log_keep_entries=draw.choice([8, 30, 200, 200]),
        log_keep_bytes=draw.choice([2000, 20_000]),
        log_hard_factor=draw.choice([2, 4]),
        max_unapplied_bytes=draw.choice([1500, 20_000]),
        apply_budget_s=draw.choice([0.0, 0.02]),
        snapshot_chunk_bytes=1000,
        gather_s=draw.choice([0.0, 0.02]),
        gather_bytes=draw.choice([300, 4000]),
    )


def _state(member: Member) -> bytes:
    digest = hashlib.sha256()
    batch = member.disk.batch()
    for table in STATE_TABLES:
        for key, value in batch.scan(table):
            digest.update(b"%d %d " % (len(key), len(value)) + key + value)
    return digest.digest()
