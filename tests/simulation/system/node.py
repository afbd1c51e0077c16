"""A simulated node: the real shard, state machine, scheduler service and API services in one process."""

import asyncio
import dataclasses
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import grpc
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.v1 import cluster_pb2

from raftsched.api.context import ApiContext
from raftsched.api.executions.feed import ExecutionFeed
from raftsched.api.executions.service import ExecutionService
from raftsched.api.groups import GroupService
from raftsched.api.tasks.service import TaskService
from raftsched.commands.envelope import Envelopes
from raftsched.commands.gate import Gate
from raftsched.commands.raising import VersionRaiser, older_than
from raftsched.consensus.cluster_time import ClusterTime, Resumed
from raftsched.consensus.settings import Settings
from raftsched.consensus.snapshot import applied_index
from raftsched.core.state.rows import ExecutionRow
from raftsched.node.members import KnownMembers
from raftsched.node.replica import Replica
from raftsched.outputs.sources import OutputChunk
from raftsched.ports import Peer, StoreFailed, Table
from raftsched.scheduler.service import SchedulerService
from raftsched.scheduler.settings import SchedulerSettings
from tests.simulation.consensus.member import Member, Members
from tests.simulation.consensus.network import Network
from tests.simulation.consensus.world import World
from tests.simulation.system.lines import Aborted, Connection, ServicerContext, messages
from tests.simulation.system.loop import VirtualLoop

Write = tuple[Table, bytes, bytes | None, bytes | None]
"""Table, key, and the value before and after."""


class Observed:
    """The state machine of a node, with an observer of what each entry does."""

    def __init__(self, node: "Node", replica: Replica) -> None:
        self._node = node
        self._replica = replica

    def apply(self, index: int, command: bytes) -> bytes:
        node = self._node
        node.on_apply(node, index, command)
        batch = node.disk.batch()
        before = len(batch.undo)
        outcome = self._replica.apply(index, command)
        node.not_told.append((index, command, outcome, _writes(batch, before)))
        if not node.is_alone:
            node.tell(index)
        return outcome

    def founded(self, shard_id: int) -> None:
        self._replica.founded(shard_id)

    def committed(self) -> None:
        self._node.tell()
        self._replica.committed()

    def restored(self) -> None:
        self._replica.restored()


def _writes(batch: Any, since: int) -> list[Write]:
    """What was written to the tables that are watched, each row once: entries of the ledger, then executions.

    Entries come in the order in which they were first written, executions in that in which they were last.
    """
    assert batch.tables is not None
    ledger, executions = batch.tables[Table.LEDGER], batch.tables[Table.EXECUTIONS]
    entries: dict[bytes, Write] = {}
    changes: dict[bytes, Write] = {}
    for rows, key, value in batch.undo[since:]:
        if rows is ledger:
            entries.setdefault(key, (Table.LEDGER, key, value, rows.values.get(key)))
        elif rows is executions:
            first = changes.pop(key, None)
            before = value if first is None else first[2]
            changes[key] = (Table.EXECUTIONS, key, before, rows.values.get(key))
    return [*entries.values(), *changes.values()]


class _NoOutput:
    async def fetch(self, execution_id: bytes, row: ExecutionRow, offset: int) -> OutputChunk:
        return OutputChunk(found=False)


class Node(Member):
    """One node with all that it offers, up, down or paused."""

    def __init__(
        self,
        world: World,
        network: Network,
        node_id: str,
        node_ids: list[str],
        settings: Settings,
        members: Members,
        scheduler_settings: SchedulerSettings,
    ) -> None:
        super().__init__(world, network, node_id, node_ids, settings, members)
        self.on_applied: Callable[[Node, int, bytes, bytes, list[Write]], None] = lambda *_: None
        self.on_heard: Callable[[Node, str], None] = lambda *_: None
        """Called when a message of the executor on that machine has been read."""
        self.on_start: Callable[[], None] = lambda: None
        self.on_kill: Callable[[], None] = lambda: None
        self.wall_error_us = 0
        self._remembered: tuple[int, float] | None = None
        """The agreed time, and when that was: what the only node of a cluster writes down."""
        self.loop: VirtualLoop | None = None
        self.connections: list[Connection] = []
        self.not_told: list[tuple[int, bytes, bytes, list[Write]]] = []
        """What was applied by the only node of a cluster, which applies before anything is durable."""
        self._scheduler_settings = scheduler_settings
        self._replica: Replica | None = None

    def start(self) -> None:
        if self.shard is not None:
            return
        super().start()
        if self.shard is None:
            return
        assert self._replica is not None
        self.clock.wall_error_us = self.wall_error_us
        loop = self.loop = VirtualLoop(self._world, self.clock, f"{self.id} {self.incarnation}")
        shard = self.shard
        time = self.time = ClusterTime(self.clock, self.id, lambda: shard.voter_ids, self._resumed())
        loop.create_task(self._ask_clocks())
        members = KnownMembers(Peer(peer.id, peer.id) for peer in self._peers)
        replica = self._replica
        gate = Gate(lambda: replica.cluster_version, self.versions, lambda version: older_than(version, shard.status()))
        self.raiser = VersionRaiser(shard, Envelopes(shard, time, self.id, gate), gate, time)
        loop.create_task(self.raiser.run()).add_done_callback(self._scheduler_ended)
        self.scheduler = SchedulerService(
            log=shard,
            store=self.disk,
            clock=time,
            node_id=self.id,
            members=members,
            settings=self._scheduler_settings,
            gate=gate,
        )
        self._replica.on_leadership = self.scheduler.lead
        self._replica.listen(self.scheduler.applied)
        feed = ExecutionFeed()
        self._replica.listen(lambda executions, _: feed.publish(executions))
        api = ApiContext(
            node_id=self.id,
            cluster_id="simulated",
            members=members,
            log=shard,
            store=self.disk,
            clock=time,
            gate=gate,
            output=_NoOutput(),
            feed=feed,
            lease_ms=self._scheduler_settings.lease_ms,
            executors=_no_executors,
        )
        self.tasks, self.executions = TaskService(api), ExecutionService(api)
        self.groups = GroupService(api)
        running = loop.create_task(self.scheduler.run())
        running.add_done_callback(self._scheduler_ended)
        self.on_start()

    def _resumed(self) -> Resumed:
        """As ``clock_memory.py`` has it of a machine that runs on."""
        if self._remembered is None:
            return Resumed()
        then_us, then = self._remembered
        return Resumed(now_us=then_us + int((self._world.now - then) * 1e6), not_before_us=then_us)

    async def _ask_clocks(self) -> None:
        """As the links of the transport do."""
        while True:
            for peer in self._peers:
                if peer.id != self.id:
                    self._network.ask_clock(self.id, peer.id, self.clock.monotonic())
            await asyncio.sleep(1.0)

    def link_changed(self, peer_id: str, connected: bool) -> None:
        super().link_changed(peer_id, connected)
        if connected:
            self._network.ask_clock(self.id, peer_id, self.clock.monotonic())

    def told_clock(self, peer_id: str, wall_us: int, asked_at_s: float) -> None:
        assert self.loop is not None
        self.loop.call_soon(self.time.heard, peer_id, wall_us, asked_at_s)

    @property
    def is_alone(self) -> bool:
        return len(self._peers) == 1

    def tell(self, up_to: int | None = None) -> None:
        """Let the observer know what was applied; without the rest, which no disk has and nobody was told of."""
        told, self.not_told = self.not_told, []
        for index, command, outcome, writes in told:
            if up_to is None or index <= up_to:
                self.on_applied(self, index, command, outcome, writes)

    def make_machine(self) -> Observed:
        with self.disk.read() as reader:
            # A commit that was reported as failed may have been made.
            self.tell(applied_index(reader))
        self._replica = Replica(self.disk, self.id, self.versions)
        return Observed(self, self._replica)

    def cluster_version(self) -> int:
        assert self._replica is not None
        return self._replica.cluster_version

    def set_wall_error(self, error_us: int) -> None:
        """Step the wall clock of the machine; a restart of the process does not mend it."""
        self.wall_error_us = error_us
        if self.shard is not None:
            self.clock.wall_error_us = error_us

    def resume_suspended(self, stood_still_s: float) -> None:
        """The machine wakes: the clock that its event loop goes by has stood still."""
        if self.paused:
            self.clock.stand_still(stood_still_s)
            self.resume()

    def kill(self) -> None:
        if self.shard is None:
            return
        if self.time.known:
            self._remembered = self.time.now_us(), self._world.now
        super().kill()
        assert self.loop is not None
        self.loop.kill()
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.server_gone()
        self.on_kill()

    def pause(self) -> None:
        super().pause()
        if self.paused and self.loop is not None:
            self.loop.pause()

    def resume(self) -> None:
        """What was waiting is done in any order: the shard's step may come before or after that of the others."""
        if not self.paused:
            return
        wakers = [super().resume, *([self.loop.resume] if self.loop is not None else [])]
        if self._random.random() < 0.5:
            wakers.reverse()
        for wake in wakers:
            wake()

    def accept(self, connection: Connection) -> None:
        """An executor dials."""
        assert self.loop is not None
        connection.server_loop = self.loop
        self.connections.append(connection)
        connection.serving = self.loop.create_task(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        machine = connection.machines[0]
        requests = messages(connection.to_server, xpb.ConnectRequest.FromString, lambda: self.on_heard(self, machine))
        context = ServicerContext(machine)
        code, details = grpc.StatusCode.OK, ""
        try:
            async with aclosing(self.scheduler.Connect(requests, context)) as answers:
                async for answer in answers:
                    connection.answer(answer.SerializeToString())
        except Aborted as error:
            code, details = error.code, error.details
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
        if connection in self.connections:
            self.connections.remove(connection)
        connection.finish(code, details)

    def _leadership(self, term: int | None) -> None:
        super()._leadership(term)
        assert self._replica is not None
        self._replica.on_leadership(term)
        self.raiser.lead(term)

    def _scheduler_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._defect(error)

    def _defect(self, error: BaseException) -> None:
        """As the composition root has it: a failed disk ends the process; anything else is a defect of ours."""
        if not isinstance(error, StoreFailed):
            raise error
        self._world.note("disk failed", self.id)
        self.kill()
        self._world.after(self._random.uniform(0.1, 1.0), self.start)


def _no_executors() -> list[cluster_pb2.ExecutorStatus]:
    return []


HERD_ROW_US = 2_000_000


def scheduler_settings(world: World) -> SchedulerSettings:
    """Small bounds, so that each of them is met."""
    draw = world.random("scheduler settings")
    lease_ms = draw.choice([1_500, 3_000, 5_000])
    return dataclasses.replace(
        SchedulerSettings(),
        lease_ms=lease_ms,
        fire_batch_items=draw.choice([2, 10, 500]),
        report_batch_items=draw.choice([2, 500]),
        pipeline_commands=draw.choice([1, 4]),
        keep_executions_count=draw.choice([60, 1_000_000, 1_000_000]),
        retention_batch_rows=draw.choice([5, 1_000]),
        # With the larger each few tasks are a herd, and leases run out on what is armed long before its time.
        herd_row_us=draw.choice([500, HERD_ROW_US]),
        # With the smaller much happens between two looks at what an executor holds.
        look_up_attempts=world.random("look up").choice([1, 500]),
    )
