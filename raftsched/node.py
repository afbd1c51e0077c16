"""The composition root: makes a node or an executor process out of its parts, and runs it until it is told to stop."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

import structlog

from raftsched import logs
from raftsched.api.channels import Channels
from raftsched.api.context import ApiContext, OutputChunk
from raftsched.api.output_sources import OutputCopyService, OutputSources
from raftsched.api.server import ApiServer
from raftsched.clock import SystemClock
from raftsched.config import ExecutorConfig, ExecutorProcessConfig, NodeConfig, OutputConfig
from raftsched.consensus.driver import GroupDriver
from raftsched.consensus.group import RaftGroup
from raftsched.consensus.matching import InvariantBroken
from raftsched.consensus.settings import Settings
from raftsched.consensus.snapshot import applied_index
from raftsched.consensus.transport import RaftTransport
from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state_check import CheckMemory
from raftsched.executor.agent import ExecutorAgent
from raftsched.executor.secrets import Secrets
from raftsched.executor.settings import ExecutorSettings
from raftsched.history.process import HistoryProcess
from raftsched.history.reader import HistoryReader
from raftsched.history.settings import HistorySettings, SinkSettings
from raftsched.internal.v1 import check_pb2_grpc, executor_pb2_grpc, output_pb2_grpc
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.notifications.delivery import Deliverer
from raftsched.ports import Clock, Peer, Role, StoreFailed, StoreRefused
from raftsched.replica import Replica
from raftsched.rest.server import ListenError, RestServer
from raftsched.scheduler.service import SchedulerService
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.state_check import StateChecker, StateCheckService, StateCheckSettings, ask_over
from raftsched.store.lmdb_store import LmdbStore
from raftsched.store.outputs import OutputFiles

VERSION = distribution_version("raftsched")
GROUP_ID = 1
_GIB = 1 << 30
_HOUR_S = 3600
_HAND_OVER_S = 2.0
_STOP_GRACE_S = 0.5
_log = structlog.get_logger(__name__)


class StartError(Exception):
    """The process cannot start; the message says why and what to do."""


class Stopped(Exception):
    """The process had to stop, and lost nothing that it had acknowledged; the message says why and what to do."""


def run_node(config: NodeConfig) -> None:
    """Run a node until SIGTERM or SIGINT. Raises StartError, Stopped."""
    logs.configure(config.log)
    with _explained():
        asyncio.run(_run_until_signalled(Node(config, SystemClock()).run))


def run_executor(config: ExecutorProcessConfig) -> None:
    """Run an executor process until SIGTERM or SIGINT, then let it finish what it has; a second signal ends it at once.

    Raises StartError, Stopped.
    """
    logs.configure(config.log)
    settings = _executor_settings(config.executor, config.output, config.data_dir, config.name)
    agent = ExecutorAgent(settings, list(config.join), SystemClock())
    with _explained():
        asyncio.run(_run_until_signalled(lambda stop: _run_agent(agent, stop)))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What the operator can mend comes without a traceback; anything else is a defect of ours and keeps it."""
    try:
        yield
    except StoreRefused as error:
        raise StartError(str(error)) from error
    except (StoreFailed, InvariantBroken) as error:
        raise Stopped(str(error)) from error


class Node:
    """A member of the cluster with everything that it offers."""

    def __init__(self, config: NodeConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._members = tuple(Peer(id_, address) for id_, address in sorted(config.peers.items()))
        self._me = next(member for member in self._members if member.id == config.id)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set or a part of the node fails."""
        config = self._config
        async with AsyncExitStack() as stack:
            store = LmdbStore(config.data_dir / "state", max_size_bytes=config.max_data_gib * _GIB)
            stack.callback(store.close)
            replica = Replica(store, config.id)
            transport = RaftTransport(
                cluster_id=config.cluster_id, node=self._me, peers=self._members, clock=self._clock
            )
            group = self._group(store, replica, transport)
            driver = GroupDriver(
                group, transport=transport, store=store, clock=self._clock, settings=_raft_settings(config)
            )
            scheduler = self._scheduler(store, group)
            replica.listen(scheduler.applied)
            history = self._history(store, group, replica)
            api = self._api(store, group, scheduler, replica.checks, history)
            checker = self._checker(group, replica.checks, api)
            deliverer = self._deliverer(store, group)
            replica.on_leadership = lambda term: _all_lead(term, scheduler.lead, checker.lead, deliverer.lead)
            replica.listen(lambda executions, _tasks: api.feed.publish(executions))
            server = ApiServer(api)
            transport.add_to_server(server.server)
            executor_pb2_grpc.add_ExecutorServiceServicer_to_server(scheduler, server.server)
            check_pb2_grpc.add_StateCheckServiceServicer_to_server(StateCheckService(replica.checks), server.server)
            copies = self._copies()
            output_pb2_grpc.add_OutputCopyServiceServicer_to_server(
                OutputCopyService(copies, self._output_directories), server.server
            )
            _listen(server, config.listen)
            await server.start()
            stack.push_async_callback(server.stop, _STOP_GRACE_S)
            if config.http_listen != "off":
                rest = RestServer(config.listen, VERSION, origins=config.http_origins)
                _listen_http(rest, config.http_listen)
                rest.start()
                stack.push_async_callback(rest.stop)
            transport.start()
            stack.push_async_callback(transport.close)
            work = [driver.run(), transport.watch(), scheduler.run(), deliverer.run(), checker.run(), _sweep(copies)]
            if history is not None:
                work.append(history.run())
            if config.executor.slots:
                agent = self._agent(api)
                await agent.start()
                stack.push_async_callback(agent.stop)
                work.append(agent.wait())
            _log.info("node started", node=config.id, address=config.listen, version=VERSION, nodes=len(self._members))
            await _run_all(work, stop, lambda: self._hand_over(group, driver))
        _log.info("node stopped", node=config.id)

    @property
    def _output_directories(self) -> tuple[Path, ...]:
        """Of the executor of this node, and of second copies of what others ran."""
        return self._config.data_dir / "executor" / "outputs", self._config.data_dir / "outputs"

    def _copies(self) -> OutputFiles:
        """Second copies of what executors of other nodes ran."""
        config = self._config.output
        return OutputFiles(
            self._output_directories[1],
            keep_s=config.keep_days * 24 * _HOUR_S,
            max_bytes=config.max_mib << 20,
            now_us=self._clock.now_us,
        )

    def _group(self, store: LmdbStore, replica: Replica, transport: RaftTransport) -> RaftGroup:
        return RaftGroup(
            group_id=GROUP_ID,
            node=self._me,
            peers=self._members,
            store=store,
            clock=self._clock,
            machine=replica,
            on_leadership=lambda term: replica.on_leadership(term),
            send=lambda peer_id, message: transport.send(GROUP_ID, peer_id, message),
            settings=_raft_settings(self._config),
        )

    def _scheduler(self, store: LmdbStore, group: RaftGroup) -> SchedulerService:
        config = self._config.scheduler
        return SchedulerService(
            log=group,
            store=store,
            clock=self._clock,
            node_id=self._config.id,
            leader_address=lambda: self._config.peers.get(group.status().leader_id, ""),
            settings=SchedulerSettings(
                lease_ms=config.lease_ms,
                heartbeat_interval_ms=min(1_000, config.lease_ms // 3),
                keep_executions_s=round(config.keep_executions_hours * _HOUR_S),
                keep_executions_count=config.keep_executions_count,
                keep_ledger_s=round(config.keep_ledger_hours * _HOUR_S),
                copy_nodes=self._members,
            ),
        )

    def _checker(self, group: RaftGroup, memory: CheckMemory, api: ApiContext) -> StateChecker:
        addresses = {member.id: member.address for member in self._members if member.id != self._config.id}
        return StateChecker(
            log=group,
            clock=self._clock,
            node_id=self._config.id,
            others=tuple(addresses),
            memory=memory,
            ask=lambda node_id, index: ask_over(api.channels.get(addresses[node_id]), index),
            settings=StateCheckSettings(
                pause_s=self._config.state_check.pause_s, step_s=self._config.state_check.step_ms / 1000
            ),
        )

    def _history(self, store: LmdbStore, group: RaftGroup, replica: Replica) -> HistoryProcess | None:
        config = self._config
        if not config.history.enabled:
            return None

        with store.read() as reader:
            index = applied_index(reader)

        def advance(sink: str, log_index: int) -> None:
            command = pb.Command(
                version=COMMAND_VERSION,
                now_us=self._clock.now_us(),
                leader_id=config.id,
                term=group.status().term,
                advance_sink=pb.AdvanceSink(name=sink, log_index=log_index),
            )
            # Whatever becomes of it: a later one says more.
            group.propose(command.SerializeToString(), lambda _fate, _outcome: None)

        settings = HistorySettings(
            path=self._history_path,
            store_path=config.data_dir / "state",
            store_max_bytes=config.max_data_gib * _GIB,
            cluster_id=config.cluster_id,
            node_id=config.id,
            keep_s=config.history.keep_days * 24 * _HOUR_S,
            keep_per_task=config.history.keep_per_task,
            keep_bytes=config.history.max_mib << 20,
            output_bytes=config.history.output_kib << 10,
            output_directories=self._output_directories,
            others=tuple((each.id, each.address) for each in self._members if each != self._me),
            sinks=tuple(
                SinkSettings(name=name, kind=sink.kind, target=sink.target, headers=sink.headers, index=sink.index)
                for name, sink in sorted(config.history.sinks.items())
            ),
            log=config.log.model_dump(),
        )
        process = HistoryProcess(settings, index, lambda: group.status().role is Role.LEADER, advance)
        replica.follow(process)
        return process

    @property
    def _history_path(self) -> Path:
        return self._config.data_dir / "history" / "index.sqlite"

    def _api(
        self,
        store: LmdbStore,
        group: RaftGroup,
        scheduler: SchedulerService,
        checks: CheckMemory,
        history: HistoryProcess | None,
    ) -> ApiContext:
        channels = Channels()
        return ApiContext(
            node_id=self._config.id,
            cluster_id=self._config.cluster_id,
            members=self._members,
            log=group,
            store=store,
            clock=self._clock,
            output=OutputSources(_executor_fetch(scheduler), channels, self._members),
            channels=channels,
            executors=scheduler.executors,
            problem=checks.problem,
            state_checked_us=lambda: checks.last_whole_end_us,
            history=None if history is None else HistoryReader(self._history_path, self._clock),
            history_problem=lambda: "" if history is None else history.problem,
            history_sinks=lambda: [] if history is None else history.sinks,
            version=VERSION,
            tzdata_version=_tzdata_version(),
        )

    def _deliverer(self, store: LmdbStore, group: RaftGroup) -> Deliverer:
        directory = self._config.executor.secrets_dir
        return Deliverer(
            log=group,
            store=store,
            clock=self._clock,
            node_id=self._config.id,
            cluster_id=self._config.cluster_id,
            get_secret=Secrets(Path(directory) if directory else None).get,
            version=VERSION,
        )

    def _agent(self, api: ApiContext) -> ExecutorAgent:
        async def find_leader() -> str | None:
            return api.leader_address() or None

        id_ = self._config.id
        config = self._config
        settings = _executor_settings(config.executor, config.output, config.data_dir / "executor", id_, node_id=id_)
        return ExecutorAgent(settings, find_leader, self._clock)

    async def _hand_over(self, group: RaftGroup, driver: GroupDriver) -> None:
        """Spare the cluster an election: a leader that stops hands over first, if a follower can take it."""
        if group.status().role is Role.LEADER and len(self._members) > 1:
            done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            group.transfer_leadership("", lambda problem: None if done.done() else done.set_result(problem))
            try:
                problem = await asyncio.wait_for(done, _HAND_OVER_S)
            except TimeoutError:
                problem = f"not within {_HAND_OVER_S:g} s"
            if problem:
                _log.warning("could not hand over the leadership; the others will elect", reason=problem)
        driver.stop()


def _executor_fetch(
    scheduler: SchedulerService,
) -> Callable[[bytes, int, int, bytes], Coroutine[Any, Any, OutputChunk]]:
    """The scheduler asks the executor that ran the attempt."""

    async def fetch(execution_id: bytes, attempt: int, offset: int, sha256: bytes) -> OutputChunk:
        output = await scheduler.fetch(execution_id, attempt, offset, sha256)
        if output is None:
            return OutputChunk(found=False)
        return OutputChunk(found=True, offset=output.offset, data=output.data, ended=output.ended)

    return fetch


async def _sweep(copies: OutputFiles) -> None:
    """Delete copies that are too old or too much, a few at a time, until cancelled."""
    while True:
        await asyncio.sleep(1.0)
        copies.sweep()


def _all_lead(term: int | None, *leaders: Callable[[int | None], None]) -> None:
    for lead in leaders:
        lead(term)


def _raft_settings(config: NodeConfig) -> Settings:
    return Settings(
        heartbeat_s=config.raft.heartbeat_ms / 1000,
        election_timeout_min_s=config.raft.election_timeout_min_ms / 1000,
        election_timeout_max_s=config.raft.election_timeout_max_ms / 1000,
    )


def _executor_settings(
    config: ExecutorConfig, output: OutputConfig, data_dir: Path, name: str, *, node_id: str = ""
) -> ExecutorSettings:
    return ExecutorSettings(
        data_dir=data_dir,
        name=name,
        slots=config.slots,
        labels=config.labels,
        node_id=node_id,
        version=VERSION,
        kill_grace_s=config.kill_grace_ms / 1000,
        python_allow=tuple(config.python_allow),
        remote_slots=config.remote_slots,
        secrets_dir=Path(config.secrets_dir) if config.secrets_dir else None,
        container_socket=config.container_socket,
        output_limit_bytes=output.limit_kib << 10,
        output_keep_s=output.keep_days * 24 * _HOUR_S,
        output_max_bytes=output.max_mib << 20,
    )


def _tzdata_version() -> str:
    return distribution_version("tzdata")


def _listen(server: ApiServer, address: str) -> None:
    try:
        server.listen(address)
    except RuntimeError:
        raise StartError(
            f"cannot listen on {address}: the port is in use, or the host is not one of this machine's addresses. "
            "Stop what uses it, or choose another with --listen (and the same in --peers of every node)."
        ) from None


def _listen_http(rest: RestServer, address: str) -> None:
    try:
        rest.listen(address)
    except ListenError as error:
        raise StartError(
            f"{error}. The REST API and the web interface are served there: choose another address with the key "
            'http_listen or the variable RAFTSCHED_HTTP_LISTEN; "off" does without them.'
        ) from None


async def _run_until_signalled(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run with an event that the first SIGTERM or SIGINT sets; the second cancels."""
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(stop))

    def signalled() -> None:
        if stop.is_set():
            running.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    await asyncio.gather(running, return_exceptions=stop.is_set())


async def _run_all(
    work: list[Coroutine[Any, Any, None]], stop: asyncio.Event, before_stop: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run all until ``stop`` is set, or until one ends, whose exception is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    stopped = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            task.result()
        await before_stop()
    finally:
        for task in [*tasks, stopped]:
            task.cancel()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)


async def _run_agent(agent: ExecutorAgent, stop: asyncio.Event) -> None:
    async def drain() -> None:
        _log.info("draining: finishing what was accepted; a second signal ends it at once")
        await agent.drain()

    await agent.start()
    try:
        await _run_all([agent.wait()], stop, drain)
    finally:
        await agent.stop()
