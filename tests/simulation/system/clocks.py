"""What goes wrong with clocks: those of a minority for good or for a while, all of them together for some seconds."""

from dataclasses import dataclass

from tests.simulation.consensus.faults import Faults, Profile
from tests.simulation.consensus.network import Network
from tests.simulation.consensus.world import World
from tests.simulation.system.executor import Executor
from tests.simulation.system.node import Node
from tests.simulation.system.truth import Truth

STEPS_S = (0.2, 1.0, 30.0, 3600.0, 86_400.0, 40 * 86_400.0)
HONEST_US = 100_000
"""How far a clock that NTP keeps is from true time."""
DRIFT = 500e-6
"""Of unstepping clocks, in such a run: as fast as NTP may slew."""
_LONGEST_GLITCH_S = 6.0
"""A majority that is wrong for longer is believed."""
_REST_S = 4.0
"""Between two glitches of a majority: they are not one that is long."""


@dataclass(frozen=True)
class ClockProfile:
    """How often each kind of fault begins, in mean seconds between two; 0: never."""

    steps_s: float = 0.0
    """The wall clock of a node steps, at most a minority of them at a time."""
    slews_s: float = 0.0
    executor_steps_s: float = 0.0
    suspends_s: float = 0.0
    """A machine is suspended: its wall clock goes on, and so does the clock that counts suspension."""
    glitches_s: float = 0.0
    """A majority steps by the same for some seconds, and back."""
    leaps: bool = False
    """All clocks repeat a second."""


class ClockFaults(Faults):
    """Adds faults of clocks, if there is a profile of them."""

    def __init__(
        self,
        world: World,
        network: Network,
        nodes: dict[str, Node],
        executors: list[Executor],
        shard: Profile,
        clocks: ClockProfile | None,
        truth: Truth | None,
    ) -> None:
        super().__init__(world, network, dict(nodes), shard)
        self._nodes = nodes
        self._executors = executors
        self._clocks = clocks
        self._truth = truth
        self._draw = world.random("clock faults")
        self._honest_us = {name: self._draw.randint(-HONEST_US, HONEST_US) for name in nodes} if clocks else {}
        self._wrong: set[str] = set()
        self._for_good: set[str] = set()
        self._glitched_at = 0.0
        if clocks is not None:
            self._set_first(clocks)

    def _set_first(self, clocks: ClockProfile) -> None:
        """Before any node has started: one of them may begin with a wrong clock."""
        for node in self._nodes.values():
            self._set_right(node)
        if clocks.steps_s and len(self._nodes) > 2 and self._draw.random() < 0.4:
            node = self._draw.choice(list(self._nodes.values()))
            self._wrong.add(node.id)
            node.set_wall_error(self._step_us())
            self._later(1.0, 10.0, lambda: self._mend(node))

    def begin(self) -> None:
        super().begin()
        if self._clocks is None:
            return
        self._repeat(self._clocks.steps_s, self._step_clock)
        self._repeat(self._clocks.slews_s, self._slew_clock)
        self._repeat(self._clocks.executor_steps_s, self._step_executor)
        self._repeat(self._clocks.suspends_s, self._suspend)
        # One or the other: either is a majority that jumps, and two of them are believed later than one.
        if self._clocks.leaps and self._draw.random() < 0.4:
            self._later(2.0, 10.0, self._leap)
        else:
            self._repeat(self._clocks.glitches_s, self._glitch)

    def set_clocks_right(self) -> None:
        """The faults end. A clock that is wrong for good stays so, which a majority outvotes."""
        for node in self._nodes.values():
            if node.id not in self._for_good:
                self._set_right(node)

    def _set_right(self, node: Node) -> None:
        node.set_wall_error(self._honest_us.get(node.id, 0))
        self._wrong.discard(node.id)

    def _victim(self) -> Node | None:
        """A node whose clock may go wrong: there are enough others whose clocks are right, or it is wrong already."""
        node = self._nodes[(self._leader() if self._draw.random() < 0.6 else self._any()).id]
        if node.id in self._for_good:
            return None
        if node.id not in self._wrong and len(self._wrong) >= max(1, (len(self._nodes) - 1) // 2):
            return None
        self._wrong.add(node.id)
        return node

    def _step_clock(self) -> None:
        node = self._victim()
        if node is None:
            return
        self._count("clock steps")
        step_us = self._step_us()
        self._world.note("clock steps", node.id, step_us)
        node.set_wall_error(step_us)
        # Of two nodes that disagree for good neither is believed.
        if self._draw.random() < 0.2 and len(self._nodes) != 2:
            self._for_good.add(node.id)
            self._count("clocks wrong for good")
        else:
            self._later(0.2, self._draw.choice([2.0, 8.0]), lambda: self._mend(node))

    def _step_us(self) -> int:
        """Some clocks are wrong together, and agree with each other."""
        others = [self._nodes[node_id].wall_error_us for node_id in sorted(self._wrong)]
        if (others := [each for each in others if abs(each) > HONEST_US]) and self._draw.random() < 0.4:
            return self._draw.choice(others)
        return int(self._draw.choice((-1, 1)) * self._draw.choice(STEPS_S) * self._draw.uniform(0.5, 1) * 1e6)

    def _mend(self, node: Node) -> None:
        if node.id not in self._for_good:
            self._set_right(node)

    def _slew_clock(self) -> None:
        """By up to a tenth, as chrony does at most, for some seconds."""
        node = self._victim()
        if node is None:
            return
        self._count("clock slews")
        rate, until = self._draw.uniform(-0.1, 0.1), self._world.now + self._draw.uniform(1, 6)

        def slew() -> None:
            if self._stopped or node.id not in self._wrong or node.id in self._for_good:
                return
            if self._world.now > until:
                self._set_right(node)
                return
            node.set_wall_error(node.wall_error_us + int(0.1 * rate * 1e6))
            self._world.after(0.1, slew)

        slew()

    def _step_executor(self) -> None:
        """The machines of executors that are no nodes: nobody outvotes them, and nobody asks them."""
        apart = [executor for executor in self._executors if executor.host is None]
        if apart:
            self._count("executor clock steps")
            step_s = self._draw.choice((-1, 0, 1)) * self._draw.choice(STEPS_S)
            self._draw.choice(apart).set_wall_error(int(step_s * 1e6))

    def _suspend(self) -> None:
        self._count("suspends")
        if self._draw.random() < 0.3:
            machine: Node | Executor = self._draw.choice(self._executors)
        else:
            machine = self._nodes[(self._leader() if self._draw.random() < 0.5 else self._any()).id]
        began = self._world.now
        machine.pause()
        self._later(0.05, self._draw.choice([1.0, 9.0]), lambda: machine.resume_suspended(self._world.now - began))

    def _glitch(self) -> None:
        """As the host of virtual machines does it."""
        if self._wrong or self._world.now < self._glitched_at + _LONGEST_GLITCH_S + _REST_S:
            return
        self._count("glitches of a majority")
        self._glitched_at = self._world.now
        nodes = list(self._nodes.values())
        hit = self._draw.sample(nodes, self._draw.randint(len(nodes) // 2 + 1, len(nodes)))
        step_us = int(self._draw.choice((-1, 1)) * self._draw.choice(STEPS_S[1:]) * 1e6)
        self._world.note("clocks glitch", [node.id for node in hit], step_us)
        for node in hit:
            node.set_wall_error(self._honest_us[node.id] + step_us)

        def back() -> None:
            for node in hit:
                self._set_right(node)

        self._later(0.3, _LONGEST_GLITCH_S, back)

    def _leap(self) -> None:
        self._count("leap seconds")
        assert self._truth is not None
        self._truth.leap()
        for node in self._nodes.values():
            self._honest_us[node.id] -= 1_000_000
            if node.id not in self._wrong:
                self._later(0.0, 0.05, lambda node=node: self._set_right(node))
