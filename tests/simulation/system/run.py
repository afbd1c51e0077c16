"""One seed of the whole system: faults for a while, then peace, in which everything ends and all nodes agree."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.consensus.settings import Settings
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import STATE_TABLES, NodeOutdated, Role
from tests.simulation.consensus.checks import Checks
from tests.simulation.consensus.founding import found_together
from tests.simulation.consensus.member import Member, Members
from tests.simulation.consensus.network import Network
from tests.simulation.consensus.run import Result
from tests.simulation.consensus.world import Violation, World
from tests.simulation.system.checks import check_end, check_prompt
from tests.simulation.system.clients import PATIENCE_S, Clients
from tests.simulation.system.clocks import DRIFT
from tests.simulation.system.executor import Executor
from tests.simulation.system.faults import SYSTEM_PROFILES, SystemFaults
from tests.simulation.system.ground import Ground
from tests.simulation.system.leases import LeaseWatch
from tests.simulation.system.ledger import AHEAD_US, FURTHEST_US, LogChecks, has_ended, open_executions
from tests.simulation.system.lines import Lines
from tests.simulation.system.node import HERD_ROW_US, Node, Write, scheduler_settings
from tests.simulation.system.related import Related
from tests.simulation.system.truth import Truth
from tests.simulation.system.upgrades import OLDER_PROGRAM, VersionWatch
from tests.simulation.system.witness import CLOCK_ERROR_US, Witness
from tests.simulation.system.workload import EPOCH_US, FAR_US, Workload

FAULT_S = 14.0
PEACE_S = 8.0
"""What recurs goes on for so long after the last fault."""
END_S = 60.0
"""Within so much virtual time after that, every execution has ended and all nodes hold the same."""


_SILENT = 50
"""CRITICAL, which nothing is."""


class SystemSimulation:
    """The parts of one run."""

    def __init__(self, seed: int, profile: str, nodes: int) -> None:
        world = self.world = World(seed)
        clocks = SYSTEM_PROFILES[profile].clocks
        if clocks is not None:
            world.largest_drift = DRIFT
        ids = ["a", "b", "c", "d", "e"][:nodes]
        self.settings = _raft_settings(world)
        self.network = Network(world, ids)
        self.nodes: dict[str, Node] = {}
        members: Members = {}
        firing = scheduler_settings(world)
        if clocks is not None:
            # Nothing is to be deleted in such a run.
            firing = replace(firing, keep_executions_count=1_000_000)
        for node_id in ids:
            node = Node(world, self.network, node_id, ids, self.settings, members, firing)
            self.nodes[node_id] = members[node_id] = node
        self.network.stations.update(members)
        self.checks = Checks(world, self.network, members, self.settings.election_timeout_max_s)
        found_together(world, [*self.nodes.values()])
        self.leases = LeaseWatch(world, firing.lease_ms)
        is_herd = firing.herd_row_us == HERD_ROW_US
        self.log = LogChecks(self._on_taken_back, FURTHEST_US if is_herd else AHEAD_US)
        self.truth = Truth(world, self.log) if clocks is not None else None
        for node in self.nodes.values():
            node.on_applied = self._on_applied
            node.on_heard = self._on_heard
            node.on_leadership = self._on_leadership
        self.ground = Ground(world)
        self.witness = Witness(world, EPOCH_US, self.log, self._clock_error_us)
        self.ground.on_start = self.witness.started
        if self.truth is not None:
            self.truth.quiet_from_s = FAULT_S + 2.0
        self.lines = Lines(world, self.network)
        self.executors = self.make_executors()
        self.clients = Clients(world, self.lines, self.nodes)
        self.clients.witness = self.witness
        self.workload = Workload(world, self.clients, ids, FAULT_S + PEACE_S)
        if clocks is not None:
            self.workload.ask_again()
        self.related = Related(world, self.clients, self.workload) if SYSTEM_PROFILES[profile].related else None
        self.faults = SystemFaults(
            world, self.network, self.nodes, self.executors, self.lines, SYSTEM_PROFILES[profile], self.truth
        )
        self.versions = VersionWatch()
        if SYSTEM_PROFILES[profile].versions_s:
            self._begin_older()

    def _begin_older(self) -> None:
        for node in self.nodes.values():
            node.versions = OLDER_PROGRAM
            node.on_outdated = self._on_outdated
            node.on_apply = self._watched(node.on_apply)

    def _watched(self, on_apply: Callable[[Member, int, bytes], None]) -> Callable[[Member, int, bytes], None]:
        def take(member: Member, index: int, command: bytes) -> None:
            self.versions.take(command)
            on_apply(member, index, command)

        return take

    def _on_outdated(self, member: Member, error: NodeOutdated) -> None:
        node = self.nodes[member.id]
        self.versions.stopped(node, error)
        self.faults.stopped_outdated(node)

    def make_executors(self) -> list[Executor]:
        """Pools of nodes, processes of their own, or both."""
        kind = self.world.random("executors").choice(["pools", "apart", "both"])
        pools = [self._executor(node.id, node) for node in self.nodes.values()] if kind != "apart" else []
        apart = {"pools": 0, "apart": 3, "both": 1}[kind]
        return [*pools, *(self.executor_apart(f"x{number}") for number in range(apart))]

    def executor_apart(self, machine: str) -> Executor:
        """An executor in a process of its own, on a machine of its own."""
        return self._executor(machine, None)

    def _executor(self, machine: str, host: Node | None) -> Executor:
        draw = self.world.random("executor settings")
        settings = ExecutorSettings(
            Path("/simulated"),
            slots=draw.choice([2, 8]),
            max_held=draw.choice([6, 100_000]),
            max_armed=self.world.random("armed").choice([2, 50_000]),
            journal_rewrite_bytes=draw.choice([4096, 1 << 20]),
            kill_grace_s=0.2,
            name=machine,
            node_id=host.id if host else "",
        )
        return Executor(self.world, self.lines, self.ground, self.nodes, machine, settings, host)

    def _on_applied(self, node: Node, index: int, command: bytes, outcome: bytes, writes: list[Write]) -> None:
        self.log.take(node.id, index, command, outcome, writes)
        if self.truth is not None:
            self.truth.take(index, command, writes)

    def _clock_error_us(self) -> float:
        """Where nothing keeps the steps of clocks within what a majority can outvote, nothing is known."""
        if self.truth is not None:
            return self.truth.bound_us if self.truth.decides else float("inf")
        return float("inf") if self.faults.counts.get("wall clock steps") else CLOCK_ERROR_US

    def _on_heard(self, node: Node, machine: str) -> None:
        if node.announced is not None:
            self.leases.heard(node.id, node.announced, machine)

    def _on_leadership(self, member: Member, term: int | None) -> None:
        if term is not None:
            self.leases.led(member.id, term)
        self.checks.on_leadership(member, term)

    def _on_taken_back(self, command: pb.Command, row: pb.ExecutionRow) -> None:
        machine = row.executor_id.rpartition("-")[0]
        self.leases.check(command.leader_id, command.term, machine, f"attempt {row.attempt} of {row.task}")

    def start(self) -> None:
        for node in self.nodes.values():
            node.start()
        for executor in self.executors:
            executor.start()
        self.workload.begin()
        if self.related is not None:
            self.related.begin()

    def run(self) -> None:
        """Faults, then peace."""
        self.start()
        self.faults.begin()
        self.world.run_until(FAULT_S)
        self.faults.end()
        self.world.run_until(FAULT_S + PEACE_S)
        self.workload.stop()
        self.come_to_rest()

    def close(self) -> None:
        """End all processes."""
        for executor in self.executors:
            executor.kill()
        for node in self.nodes.values():
            node.kill()

    def come_to_rest(self) -> None:
        """Everything ends, and then nothing is left to be said against it."""
        world = self.world
        end = world.now + PATIENCE_S + END_S
        rested = False
        while world.now < end and not rested:
            world.run_until(world.now + 0.5)
            rested = not self.clients.under_way and self._all_ended() and self._agree()
        if not rested:
            raise Violation(self._why())
        # Time for what was forgotten to show itself.
        world.run_until(world.now + 6.0)
        if not self._agree():
            raise Violation(f"the nodes do not stay agreed: {self._states()}")
        leader = next(node for node in self.nodes.values() if node.role is Role.LEADER)
        with leader.disk.read() as reader:
            check_end(reader, self.log, self.ground, self.clients.observed)
        if self.truth is not None:
            self._check_terms()
            self.truth.check_records(self.ground)
        slots = sum(executor.settings.slots for executor in self.executors)
        check_prompt(self.ground, self.log, EPOCH_US, FAULT_S + 2.0, FAULT_S + PEACE_S, slots)

    def _check_terms(self) -> None:
        """Leaders do not hand over in a circle: each fault may cost some terms, and nothing else does."""
        faults = sum(self.faults.counts.values())
        if self.checks.last_term > 20 + 3 * faults:
            raise Violation(f"leadership: {self.checks.last_term} terms in a run of {faults} faults")

    def _all_ended(self) -> bool:
        """Also what a client has asked for just before the end, for some seconds later, has come and gone."""
        state = self.log.state
        decided = all(not 0 < task.cursor < FAR_US or task.paused for task in state.tasks.values())
        return decided and all(map(has_ended, state.executions.values()))

    def _agree(self) -> bool:
        groups = [node.shard for node in self.nodes.values() if node.shard is not None]
        if len(groups) < len(self.nodes) or sum(n.role is Role.LEADER for n in self.nodes.values()) != 1:
            return False
        statuses = [group.status() for group in groups]
        heads = {(s.term, s.leader_id, s.commit_index, s.applied_index, s.last_index) for s in statuses}
        if len(heads) != 1 or statuses[0].applied_index != statuses[0].last_index:
            return False
        return len({state_digest(node) for node in self.nodes.values()}) == 1

    def _why(self) -> str:
        if self.clients.under_way:
            return f"end: {self.clients.under_way} calls have no answer"
        if self._all_ended():
            return f"no convergence: {self._states()}"
        state = self.log.state
        late = [task.name for task in state.tasks.values() if 0 < task.cursor < FAR_US and not task.paused]
        open_rows = [state.executions[key] for key in open_executions(state.executions.items())]
        left = [(row.task, row.state, row.attempt) for row in open_rows]
        return f"end: undecided {late[:5]}, not ended {left[:5]}; {self._states()}"

    def _states(self) -> str:
        return "; ".join(f"{n.id}: {n.shard.status() if n.shard else 'down'}" for n in self.nodes.values())


def simulate_system(
    seed: int,
    *,
    profile: str = "everything",
    nodes: int = 3,
    stage: Callable[[SystemSimulation], None] = SystemSimulation.run,
) -> Result:
    """Run one seed to its end, or to the first violation."""
    result = Result(seed, profile, nodes)
    simulation = SystemSimulation(seed, profile, nodes)
    logging = structlog.get_config()
    # What processes log of the faults that they meet is no news here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    try:
        stage(simulation)
    except Violation as violation:
        result.violation = str(violation)
    except Exception as error:
        result.violation = f"{type(error).__name__}: {error}"
        result.facts["error"] = error
    finally:
        simulation.close()
        structlog.configure(**logging)
    world, log = simulation.world, simulation.log
    result.trace = world.trace
    result.digest = hashlib.sha256(repr(result.trace).encode()).hexdigest()[:16]
    result.facts |= {
        "virtual_s": round(world.now, 1),
        "entries": simulation.checks.last_committed,
        "terms": simulation.checks.last_term,
        "fires": log.fires,
        "chained": len(log.state.told),
        "backfilled": log.backfilled,
        "spread": sum(bool(row.nominal_id) for row in log.state.executions.values()),
        "shared": sum(bool(row.group) for row in log.state.executions.values()),
        "executions": len(log.state.executions),
        "starts": len(simulation.ground.processes),
        "armed": log.armed,
        "withdrawn": log.withdrawn,
        "pauses": simulation.witness.paused,
        **({"held against true time": simulation.truth.looked_at} if simulation.truth is not None else {}),
        "snapshots": sum(node.installs for node in simulation.nodes.values()),
        **{f"calls {what}": count for what, count in sorted(simulation.clients.observed.ends.items())},
        **({"raised to": simulation.versions.raised} if SYSTEM_PROFILES[profile].versions_s else {}),
        **simulation.faults.counts,
    }
    return result


def _raft_settings(world: World) -> Settings:
    """Small bounds, so that each of them is met."""
    draw = world.random("settings")
    shortest_s, longest_s = draw.choice([(0.7, 1.4), (0.4, 0.6)])
    return Settings(
        election_timeout_min_s=shortest_s,
        election_timeout_max_s=longest_s,
        batch_bytes=draw.choice([2_000, 100_000]),
        in_flight_bytes=draw.choice([4_000, 1_000_000]),
        max_command_bytes=256 * 1024,
        max_proposals=draw.choice([12, 1_000]),
        max_proposal_bytes=1 << 20,
        proposal_deadline_s=3.0,
        log_keep_entries=draw.choice([20, 100, 1_000]),
        log_keep_bytes=1 << 20,
        log_hard_factor=2,
        max_unapplied_bytes=draw.choice([20_000, 1 << 20]),
        apply_budget_s=draw.choice([0.0, 0.02]),
        snapshot_chunk_bytes=4_000,
    )


def state_digest(node: Node) -> bytes:
    """Of all state tables of a node, with what it has applied and not committed."""
    digest = hashlib.sha256()
    batch = node.disk.batch()
    for table in STATE_TABLES:
        for key, value in batch.scan(table):
            digest.update(b"%d %d " % (len(key), len(value)) + key + value)
    return digest.digest()
