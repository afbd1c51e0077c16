"""What goes wrong in the whole system: what the shard meets, and executors, streams and wall clocks beside."""

from dataclasses import dataclass, replace
from functools import partial

from tests.simulation.consensus.faults import PROFILES, Profile
from tests.simulation.consensus.network import Network
from tests.simulation.consensus.world import World
from tests.simulation.system.clocks import ClockFaults, ClockProfile
from tests.simulation.system.executor import Executor
from tests.simulation.system.lines import GIVE_UP_S, Lines
from tests.simulation.system.node import Node
from tests.simulation.system.truth import Truth
from tests.simulation.system.upgrades import NEWER_PROGRAM, OLDER_PROGRAM


@dataclass(frozen=True)
class SystemProfile:
    """How often each kind of fault begins, in mean seconds between two; 0: never."""

    shard: Profile
    executor_kills_s: float = 0.0
    power_losses_s: float = 0.0
    executor_pauses_s: float = 0.0
    executor_disks_s: float = 0.0
    stream_breaks_s: float = 0.0
    line_cuts_s: float = 0.0
    slow_lines_s: float = 0.0
    client_cuts_s: float = 0.0
    wall_steps_s: float = 0.0
    wall_drifts: bool = False
    half_commits_s: float = 0.0
    clocks: ClockProfile | None = None
    """Clocks are wrong by up to days, and what is done is held against true time."""
    versions_s: float = 0.0
    """Nodes begin with an older version, and change to a newer one and back."""
    related: bool = False
    """There are tasks of the less simple kinds too: chains, groups, backfills, one on every executor, exclusions."""


_EVERYTHING = SystemProfile(
    shard=PROFILES["everything"],
    executor_kills_s=6,
    power_losses_s=10,
    executor_pauses_s=8,
    executor_disks_s=15,
    stream_breaks_s=2,
    line_cuts_s=6,
    slow_lines_s=6,
    client_cuts_s=8,
    wall_steps_s=5,
    wall_drifts=True,
    half_commits_s=15,
)
SYSTEM_PROFILES = {
    "everything": _EVERYTHING,
    "system-calm": SystemProfile(shard=PROFILES["calm"]),
    "system-executors": SystemProfile(
        shard=PROFILES["calm"],
        executor_kills_s=2,
        power_losses_s=4,
        executor_pauses_s=3,
        executor_disks_s=6,
        stream_breaks_s=1,
        line_cuts_s=3,
    ),
    "system-leaders": SystemProfile(
        shard=Profile(leader_kills_s=3, pauses_s=4, partitions_s=4, transfers_s=3, late_s=3.0), stream_breaks_s=3
    ),
    "system-related": replace(_EVERYTHING, related=True),
    "versions": replace(_EVERYTHING, versions_s=1.2),
    "system-clocks": SystemProfile(shard=PROFILES["handovers"], wall_steps_s=1, wall_drifts=True),
    "clocks": SystemProfile(
        shard=Profile(
            resets_s=2,
            cuts_s=8,
            partitions_s=10,
            slow_links_s=8,
            kills_s=8,
            leader_kills_s=6,
            restart_storms_s=25,
            transfers_s=3,
            late_s=1.0,
        ),
        executor_kills_s=10,
        stream_breaks_s=4,
        clocks=ClockProfile(steps_s=1.5, slews_s=6, executor_steps_s=3, suspends_s=6),
    ),
    "clocks-together": SystemProfile(
        shard=Profile(resets_s=3, transfers_s=3, late_s=0.5),
        stream_breaks_s=5,
        clocks=ClockProfile(glitches_s=2, executor_steps_s=5, leaps=True),
    ),
}
LONGEST_STEP_S = 12.0
_MACHINE_SHARE = 0.3
_UPGRADES = 0.8


class SystemFaults(ClockFaults):
    """Draws faults of the whole system until it is told to stop, then repairs everything."""

    def __init__(
        self,
        world: World,
        network: Network,
        nodes: dict[str, Node],
        executors: list[Executor],
        lines: Lines,
        profile: SystemProfile,
        truth: Truth | None,
    ) -> None:
        super().__init__(world, network, nodes, executors, profile.shard, profile.clocks, truth)
        self._lines = lines
        self._system = profile
        self._drift_ppm: dict[str, float] = {}

    def begin(self) -> None:
        super().begin()
        profile = self._system
        self._repeat(profile.executor_kills_s, self._kill_executor)
        self._repeat(profile.power_losses_s, self._lose_power)
        self._repeat(profile.executor_pauses_s, self._pause_executor)
        self._repeat(profile.executor_disks_s, self._refuse_disk)
        self._repeat(profile.stream_breaks_s, self._break_streams)
        self._repeat(profile.line_cuts_s, self._cut_lines)
        self._repeat(profile.slow_lines_s, self._slow_lines)
        self._repeat(profile.client_cuts_s, self._cut_clients)
        self._repeat(profile.wall_steps_s, self._step_wall)
        self._repeat(profile.half_commits_s, self._half_commit)
        self._repeat(profile.versions_s, self._change_version)
        self._repeat(0.5, self._lines.flush)
        if profile.wall_drifts:
            for machine in [*self._nodes.values(), *self._executors]:
                self._drift(machine, self._random.uniform(-30_000, 30_000))

    def end(self) -> None:
        self._lines.heal()
        for executor in self._executors:
            executor.platter.refuses = ""
            if executor.host is None:
                executor.set_wall_error(0)
        for node in self._nodes.values():
            node.disk.reports_failure_after_commit = False
        self.set_clocks_right()
        if self._system.versions_s:
            self._upgrade_all()
        super().end()
        self._lines.flush()
        for executor in self._executors:
            executor.resume()
            executor.start()

    def _change_version(self) -> None:
        """Mostly to the newer one, and now and then back."""
        node = self._nodes[self._any().id]
        newer = self._random.random() < _UPGRADES
        self._count("upgrades" if newer else "downgrades")
        node.kill()
        node.versions = NEWER_PROGRAM if newer else OLDER_PROGRAM
        self._later(0.01, 1.0, node.start)

    def stopped_outdated(self, node: Node) -> None:
        """Whoever looks after it starts it again, or upgrades it."""
        self._count("outdated nodes that stopped")
        if self._stopped or self._random.random() < 0.5:
            node.versions = NEWER_PROGRAM
        self._later(0.05, 1.0, node.start)

    def _upgrade_all(self) -> None:
        for node in self._nodes.values():
            if node.versions is not NEWER_PROGRAM:
                node.kill()
                node.versions = NEWER_PROGRAM

    def _any_executor(self) -> Executor:
        return self._random.choice(self._executors)

    def _revive(self, executor: Executor, longest_s: float) -> None:
        self._later(0.05, longest_s, executor.start if executor.host is None else executor.host.start)

    def _kill_executor(self) -> None:
        self._count("executor kills")
        executor = self._any_executor()
        executor.kill()
        self._revive(executor, self._random.choice([0.5, 8.0]))

    def _lose_power(self) -> None:
        self._count("power losses")
        executor = self._any_executor()
        executor.lose_power()
        self._revive(executor, self._random.choice([1.0, 8.0]))

    def _pause_executor(self) -> None:
        self._count("executor pauses")
        executor = self._any_executor()
        executor.pause()
        self._later(0.05, self._random.choice([1.0, 9.0]), executor.resume)

    def _refuse_disk(self) -> None:
        self._count("executor disk errors")
        executor = self._any_executor()
        executor.platter.refuses = "No space left on device"

        def mend() -> None:
            executor.platter.refuses = ""

        self._later(0.01, 3, mend)

    def _break_streams(self) -> None:
        self._count("stream breaks")
        self._any_executor().break_streams(late_s=self._random.choice([0.01, 1.0, 4.0]))

    def _cut_lines(self) -> None:
        self._count("line cuts")
        machine = self._any_executor().machine
        ids = [node_id for node_id in self._nodes if self._random.random() < 0.6] or list(self._nodes)
        one_way = self._random.choice(["", "", "there", "back"])
        cuts = {
            ends
            for node_id in ids
            for ends, way in (((machine, node_id), "there"), ((node_id, machine), "back"))
            if one_way in ("", way)
        }
        self._cut_off(cuts)

    def _cut_clients(self) -> None:
        self._count("client cuts")
        node_id = self._random.choice(list(self._nodes))
        self._cut_off({self._random.choice([("clients", node_id), (node_id, "clients")])})

    def _cut_off(self, cuts: set[tuple[str, str]]) -> None:
        """Nothing gets through, and connections that are silent for long break."""
        self._lines.cuts |= cuts
        self._world.note("lines cut", sorted(cuts))

        def heal() -> None:
            self._lines.cuts -= cuts
            self._lines.flush()
            self._world.note("lines healed", sorted(cuts))

        def give_up() -> None:
            for executor in self._executors:
                for connection in executor.connections:
                    machine, node_id = connection.machines
                    if {(machine, node_id), (node_id, machine)} & self._lines.cuts:
                        connection.break_off(1.0)

        self._world.after(GIVE_UP_S, give_up)
        self._later(0.1, 10, heal)

    def _slow_lines(self) -> None:
        self._count("slow lines")
        machine = self._any_executor().machine
        self._lines.slow.add(machine)
        self._later(0.5, 4, partial(self._lines.slow.discard, machine))

    def _step_wall(self) -> None:
        """Mostly of nodes: theirs decide."""
        self._count("wall clock steps")
        step_us = int(self._random.choice([0.05, 1.0, LONGEST_STEP_S]) * self._random.uniform(-1, 1) * 1e6)
        machine = self._any_executor() if self._random.random() < _MACHINE_SHARE else self._leading_or_any()
        name = machine.machine if isinstance(machine, Executor) else machine.id
        self._world.note("wall clock", name, step_us)
        machine.set_wall_error(step_us)
        self._later(0.2, 6, lambda: machine.set_wall_error(0))

    def _leading_or_any(self) -> Node:
        return self._nodes[(self._leader() if self._random.random() < 0.6 else self._any()).id]

    def _drift(self, machine: Node | Executor, ppm: float) -> None:
        """A wall clock that goes wrong, and is set right now and then."""

        def go_wrong() -> None:
            if self._stopped:
                return
            machine.set_wall_error(machine.wall_error_us + int(0.25 * ppm))
            if self._random.random() < 0.05:
                machine.set_wall_error(0)
            self._world.after(0.25, go_wrong)

        self._world.after(0.25, go_wrong)

    def _half_commit(self) -> None:
        """The disk reports an error, and what it was given is there all the same."""
        self._count("commits reported as failed")
        node = self._nodes[self._any().id]
        node.disk.reports_failure_after_commit = True
