"""A simulated executor: the real agent on a disk that keeps what was synced, with processes that outlive it."""

import asyncio
import random
from collections.abc import Collection, Iterable
from pathlib import Path

from raftsched.executor.agent import ExecutorAgent
from raftsched.executor.keys import AttemptKey
from raftsched.executor.leftovers import Marks
from raftsched.executor.machine import Machine
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import StoreFailed, StoreRefused
from tests.simulation.consensus.world import NodeClock, World
from tests.simulation.system.ground import Commands, Ground
from tests.simulation.system.lines import GIVE_UP_S, Channel, Connection, Lines
from tests.simulation.system.loop import VirtualLoop
from tests.simulation.system.node import Node

_TORN = b"\0\xff\0"


class Platter:
    """The journal's file: what was appended survives the process, what was synced survives the machine."""

    def __init__(self) -> None:
        self.path = Path("/simulated/journal")
        self.content = b""
        self.synced = 0
        self.refuses = ""
        """Why the disk takes nothing; "" while it does."""
        self._new = b""

    def read(self) -> bytes:
        return self.content

    def cut(self, size_bytes: int) -> None:
        self._may_refuse()
        self.content = self.content[:size_bytes]
        self.synced = min(self.synced, size_bytes)

    def append(self, data: bytes) -> None:
        if self.refuses:
            # As much as there was room for.
            self.content += data[: len(data) // 2]
        self._may_refuse()
        self.content += data

    def sync(self) -> None:
        self._may_refuse()
        self.synced = len(self.content)

    def write_new(self, parts: Iterable[bytes]) -> None:
        self._may_refuse()
        self._new = b"".join(parts)

    def replace(self, rest: bytes) -> int:
        self._may_refuse()
        self.content = self._new + rest
        self.synced = len(self.content)
        return self.synced

    def close(self) -> None:
        pass

    def lose_power(self, dice: random.Random) -> None:
        """Keep what was synced, and of the rest a part, whose end may be torn."""
        kept = dice.randint(self.synced, len(self.content))
        torn = _TORN if kept < len(self.content) and dice.random() < 0.5 else b""
        self.content = self.content[:kept] + torn
        self.synced = len(self.content)

    def _may_refuse(self) -> None:
        if self.refuses:
            raise OSError(28, self.refuses)


class Executor:
    """An executor process of its own, or the pool of a node, which shares its process."""

    def __init__(
        self,
        world: World,
        lines: Lines,
        ground: Ground,
        nodes: dict[str, Node],
        machine: str,
        settings: ExecutorSettings,
        host: Node | None = None,
    ) -> None:
        self.machine = machine
        self.host = host
        self.platter = Platter()
        self.wall_error_us = 0
        self.prefers = ""
        """The node that an executor of its own asks; "": all in turn."""
        self.incarnation = 0
        self.agent: ExecutorAgent | None = None
        self.loop: VirtualLoop | None = None
        self.connections: list[Connection] = []
        self._clock: NodeClock | None = None
        self._world = world
        self._lines = lines
        self._ground = ground
        self._nodes = nodes
        self.settings = settings
        self._random = world.random(f"executor {machine}")
        self._turn = 0
        if host is not None:
            host.on_start = self.start
            host.on_kill = self._die

    @property
    def is_up(self) -> bool:
        return self.agent is not None

    @property
    def paused(self) -> bool:
        return self.loop is not None and self.loop.paused

    def start(self) -> None:
        if self.agent is not None:
            return
        self.incarnation += 1
        name = f"{self.machine} executor"
        if self.host is not None:
            if self.host.loop is None or self.host.shard is None:
                return
            self._clock, self.loop = self.host.clock, self.host.loop
        else:
            self._clock = NodeClock(self._world, name, self.incarnation)
            self._clock.wall_error_us = self.wall_error_us
            self.loop = VirtualLoop(self._world, self._clock, f"{name} {self.incarnation}")
        self._world.note("executor starts", self.machine, self.incarnation)
        loop = self.loop
        machine = Machine(
            open_file=lambda _: self.platter,
            runners=lambda _: Commands(self._ground, self.machine),
            end_leftovers=self._end_leftovers,
        )
        self.agent = ExecutorAgent(
            self.settings,
            self._find_leader,
            self._clock,
            open_channel=lambda address: Channel(lambda: self._dial(address), loop),
            machine=machine,
        )
        running = loop.create_task(self._run(self.agent))
        running.add_done_callback(self._ended)

    def kill(self) -> None:
        """SIGKILL: its commands run on."""
        if self.agent is None:
            return
        if self.host is not None:
            self.host.kill()
        else:
            assert self.loop is not None
            self._die()
            self.loop.kill()

    def lose_power(self) -> None:
        """The machine goes down, and its commands with it; nobody is told."""
        self._ground.lose_power(self.machine)
        self.connections.clear()
        self.kill()
        self.platter.lose_power(self._random)

    def pause(self) -> None:
        if self.host is not None:
            self.host.pause()
        elif self.loop is not None and self.agent is not None:
            self._world.note("pause", self.machine)
            self.loop.pause()

    def resume(self) -> None:
        if self.host is not None:
            self.host.resume()
        elif self.paused and self.loop is not None:
            self._world.note("resume", self.machine)
            self.loop.resume()

    def resume_suspended(self, stood_still_s: float) -> None:
        """The machine wakes: the clock that its event loop goes by has stood still."""
        if self.host is not None:
            self.host.resume_suspended(stood_still_s)
        elif self.paused and self._clock is not None:
            self._clock.stand_still(stood_still_s)
            self.resume()

    def set_wall_error(self, error_us: int) -> None:
        self.wall_error_us = error_us
        if self.host is None and self._clock is not None:
            self._clock.wall_error_us = error_us

    def break_streams(self, late_s: float) -> None:
        """The connection breaks, and either end learns of it at its own time."""
        connections, self.connections = self.connections, []
        for connection in connections:
            self._world.note("stream breaks", *connection.machines)
            connection.break_off(late_s)

    def lose_line(self, node: Node) -> None:
        """Nothing gets to that node or comes from it."""
        self._lines.cuts |= {(self.machine, node.id), (node.id, self.machine)}

    def _die(self) -> None:
        if self.agent is None:
            return
        self._world.note("executor dies", self.machine)
        self.agent = None
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.client_gone()

    async def _run(self, agent: ExecutorAgent) -> None:
        await agent.start()
        await agent.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._defect(error)

    def _defect(self, error: BaseException) -> None:
        """As the composition root has it: a refusing disk ends the process; anything else is a defect of ours."""
        if not isinstance(error, StoreFailed) and not (isinstance(error, StoreRefused) and self.platter.refuses):
            raise error
        self._world.note("executor's disk failed", self.machine)
        self.kill()
        start = self.start if self.host is None else self.host.start
        self._world.after(self._random.uniform(0.1, 1.0), start)

    async def _find_leader(self) -> str | None:
        if self.host is not None and self.host.shard is not None:
            return self.host.shard.status().leader_id or None
        self._turn += 1
        if self.prefers:
            return self.prefers
        ids = list(self._nodes)
        return ids[self._turn % len(ids)]

    def _dial(self, address: str) -> Connection | None:
        node = self._nodes[address]
        connection = Connection(self._lines, self.machine, address)
        if self._lines.is_cut(self.machine, address):
            self._world.after(GIVE_UP_S, lambda: connection.break_off(0.0))
            return connection
        if node.shard is None:
            return None
        self._world.note("executor dials", self.machine, address)
        self.connections.append(connection)
        node.accept(connection)
        return connection

    async def _end_leftovers(self, _marks: Marks, attempts: Collection[AttemptKey], grace_s: float) -> None:
        while left := self._ground.of(self.machine, attempts):
            await asyncio.sleep(self._random.uniform(0.01, 0.1))
            for process in left:
                self._ground.kill(process)
