"""Nodes that serve the API over real sockets on a real shard, and fire nothing: what a test writes stays put."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import (
    calendar_pb2_grpc,
    cluster_pb2_grpc,
    error_pb2,
    execution_pb2_grpc,
    group_pb2_grpc,
    task_pb2_grpc,
)

from raftsched.api.context import ApiContext
from raftsched.api.door.server import ApiServer
from raftsched.clock import SystemClock
from raftsched.commands.gate import Gate
from raftsched.consensus.cluster_time import ClusterTime
from raftsched.consensus.driver import NodeDriver
from raftsched.consensus.settings import Settings
from raftsched.consensus.shard import RaftShard
from raftsched.consensus.transport import RaftTransport
from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state.rows import ExecutionRow
from raftsched.node.members import KnownMembers
from raftsched.node.replica import Replica
from raftsched.outputs.sources import OutputChunk
from raftsched.ports import Fate, Log, Peer, Role, ShardStatus, Store
from raftsched.store.lmdb_store import LmdbStore
from tests.support.ports import free_ports

DEADLINE_S = 20.0
SETTINGS = Settings(heartbeat_s=0.05, election_timeout_min_s=0.3, election_timeout_max_s=0.6)


class ScriptedOutput:
    """The output of attempts, as a test lays it down."""

    def __init__(self) -> None:
        self.kept: dict[tuple[bytes, int], OutputChunk] = {}

    async def fetch(self, execution_id: bytes, row: ExecutionRow, offset: int) -> OutputChunk:
        chunk = self.kept.get((execution_id, row.attempt))
        if chunk is None:
            return OutputChunk(found=False)
        skipped = max(0, offset - chunk.offset)
        return replace(chunk, offset=chunk.offset + skipped, data=chunk.data[skipped:])


class Caller:
    """Stubs of the public services of one node."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.tasks = task_pb2_grpc.TaskServiceStub(self.channel)
        self.executions = execution_pb2_grpc.ExecutionServiceStub(self.channel)
        self.calendars = calendar_pb2_grpc.CalendarServiceStub(self.channel)
        self.groups = group_pb2_grpc.GroupServiceStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterServiceStub(self.channel)


class ApiNode:
    """A Raft member with a public API and without a scheduler."""

    def __init__(
        self,
        me: Peer,
        named: tuple[Peer, ...],
        store: Store,
        log: Log | None = None,
        *,
        voters: tuple[Peer, ...] | None = None,
    ) -> None:
        """``named`` are the peers of its settings, and the first voters unless these are given."""
        self.me = me
        self.store = store
        self.output = ScriptedOutput()
        clock = SystemClock()
        replica = Replica(store, me.id)
        members = KnownMembers(named)
        self._transport = RaftTransport(cluster_id="test", node=me, members=members, clock=clock)
        self.shard = RaftShard(
            shard_id=1,
            node=me,
            peers=named if voters is None else voters,
            store=store,
            clock=clock,
            machine=replica,
            on_leadership=lambda _: None,
            send=lambda peer_id, message: self._transport.send(1, peer_id, message),
            settings=SETTINGS,
        )
        self.shard.on_members = members.take
        self.time = ClusterTime(clock, me.id, lambda: self.shard.voter_ids)
        self._transport.on_clock = self.time.heard
        self._driver = NodeDriver(transport=self._transport, store=store, clock=clock, settings=SETTINGS)
        self._driver.add(self.shard)
        self.api = ApiContext(
            node_id=me.id,
            cluster_id="test",
            members=members,
            log=log or self.shard,
            store=store,
            clock=self.time,
            gate=Gate(lambda: replica.cluster_version),
            output=self.output,
            version="1.2.3",
            http_address=f"{me.id}.example:80",
            tzdata_version="2026a",
        )
        replica.listen(lambda executions, _tasks: self.api.feed.publish(executions))
        self._server = ApiServer(self.api)
        self._transport.add_to_server(self._server.server)
        self._driving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._server.listen(self.me.address)
        await self._server.start()
        self._transport.start()
        self._driving = asyncio.create_task(self._driver.run())

    async def stop(self) -> None:
        """Hang up at once, as a process that is killed does."""
        if self._driving is None:
            return
        driving, self._driving = self._driving, None
        await self._server.stop(0)
        await self._transport.close()
        self._driver.stop()
        await driving
        self.store.close()

    @property
    def leads(self) -> bool:
        return self.shard.status().role is Role.LEADER

    async def apply(self, command: pb.Command) -> pb.Outcome:
        """Put a command into the log, as the scheduler would."""
        done: asyncio.Future[tuple[Fate, bytes]] = asyncio.get_running_loop().create_future()
        command.version = COMMAND_VERSION
        command.now_us = command.now_us or self.api.clock.now_us()
        self.shard.propose(command.SerializeToString(), lambda fate, outcome: done.set_result((fate, outcome)))
        fate, outcome = await asyncio.wait_for(done, DEADLINE_S)
        assert fate is Fate.DONE, fate
        return pb.Outcome.FromString(outcome)


class ApiCluster:
    """Some nodes of one group; ``node`` leads at the beginning."""

    def __init__(self, nodes: list[ApiNode]) -> None:
        self.nodes = nodes
        self._callers: dict[str, Caller] = {}

    @property
    def node(self) -> ApiNode:
        """The node that leads."""
        return next(node for node in self.nodes if node.leads)

    @property
    def followers(self) -> list[ApiNode]:
        return [node for node in self.nodes if not node.leads]

    def caller(self, node: ApiNode | None = None) -> Caller:
        """Stubs that ask ``node``, or the first one."""
        address = (node or self.nodes[0]).me.address
        if address not in self._callers:
            self._callers[address] = Caller(address)
        return self._callers[address]

    async def stop(self) -> None:
        for caller in self._callers.values():
            await caller.channel.close()
        for node in self.nodes:
            await node.stop()


@asynccontextmanager
async def api_cluster(size: int = 1, log: Log | None = None) -> AsyncIterator[ApiCluster]:
    """Start the nodes and wait until all of them know the leader, unless ``log`` replaces the shard."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(size)]
    members = tuple(Peer(f"n{number}", address) for number, address in enumerate(addresses, 1))
    with TemporaryDirectory() as directory:
        stores = [LmdbStore(Path(directory) / member.id, max_size_bytes=256 << 20) for member in members]
        cluster = ApiCluster([ApiNode(me, members, store, log) for me, store in zip(members, stores, strict=True)])
        try:
            for node in cluster.nodes:
                await node.start()
            if log is None:
                await eventually(lambda: _ready(cluster))
            yield cluster
        finally:
            await cluster.stop()


def _ready(cluster: ApiCluster) -> bool:
    statuses = [node.shard.status() for node in cluster.nodes]
    leaders = [node for node in cluster.nodes if node.leads]
    if len(leaders) != 1 or any(status.leader_id != leaders[0].me.id for status in statuses):
        return False
    return all(status.applied_index == statuses[0].last_index > 0 for status in statuses)


async def eventually(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Poll until the condition holds."""
    until = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < until, f"not within {deadline_s} s"
        await asyncio.sleep(0.01)


async def eventually_true(ask: Callable[[], Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Ask until the answer is yes."""
    until = asyncio.get_running_loop().time() + deadline_s
    while not await ask():
        assert asyncio.get_running_loop().time() < until, f"not within {deadline_s} s"
        await asyncio.sleep(0.02)


def on_cluster(size: int = 1) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Run an async test whose first argument is a started cluster."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        async def body(**arguments: Any) -> None:
            async with api_cluster(size) as cluster:
                await test(cluster, **arguments)

        def run(**arguments: Any) -> None:
            asyncio.run(body(**arguments))

        functools.update_wrapper(run, test)
        del run.__wrapped__
        parameters = list(inspect.signature(test).parameters.values())[1:]
        run.__signature__ = inspect.Signature(parameters)
        return run

    return decorate


class Refused:
    """What a call that fails tells its caller."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK
        self.message = ""
        self.info = error_pb2.ErrorInfo()
        self.retry = error_pb2.RetryInfo()
        self.fields: dict[str, str] = {}

    @property
    def applied(self) -> str:
        return self.info.metadata["applied"]

    def take(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.message = error.code(), error.details() or ""
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                assert isinstance(value, bytes)
                self._take_details(error_pb2.ErrorStatus.FromString(value))

    def _take_details(self, status: error_pb2.ErrorStatus) -> None:
        assert (status.code, status.message) == (self.code.value[0], self.message)
        for detail in status.details:
            name = detail.type_url.removeprefix("type.googleapis.com/google.rpc.")
            if name == "ErrorInfo":
                self.info.ParseFromString(detail.value)
            elif name == "RetryInfo":
                self.retry.ParseFromString(detail.value)
            elif name == "BadRequest":
                bad = error_pb2.BadRequest.FromString(detail.value)
                self.fields = {violation.field: violation.description for violation in bad.field_violations}
            else:
                raise AssertionError(f"unknown detail {name}")


async def refused(call: Awaitable[object]) -> Refused:
    """The error that the call ends with; it must not succeed."""
    told = Refused()
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        told.take(error)
        return told
    raise AssertionError(f"the call succeeded: {response}")


class ScriptedLog:
    """A log that ends proposals and reads as a test says, for what a healthy group does not do on demand."""

    def __init__(self, *, role: Role = Role.LEADER, leader_id: str = "n1") -> None:
        self.fate = Fate.DONE
        self.outcome = pb.Outcome()
        self.silent = False
        self.role = role
        self.term = 5
        self.leader_id = leader_id
        self.proposed: list[pb.Command] = []

    def propose(self, command: bytes, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        self.proposed.append(pb.Command.FromString(command))
        if not self.silent:
            asyncio.get_running_loop().call_soon(done, self.fate, self.outcome.SerializeToString())

    def read_barrier(self, done: Callable[[Fate], None]) -> None:
        if not self.silent:
            asyncio.get_running_loop().call_soon(done, self.fate)

    def transfer_leadership(self, peer_id: str, done: Callable[[str], None]) -> None:
        asyncio.get_running_loop().call_soon(done, f"{peer_id or 'nobody'} has not caught up")

    def status(self) -> ShardStatus:
        return ShardStatus(self.role, self.term, self.leader_id, 10, 10, 1, 10, 1000, ())
