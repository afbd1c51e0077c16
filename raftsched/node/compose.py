"""The composition root: makes a node out of its parts."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog
from raftsched_proto.internal.v1 import check_pb2_grpc, executor_pb2_grpc, output_pb2_grpc

from raftsched.api.context import ApiContext
from raftsched.api.door.server import MAX_CONNECTIONS as GRPC_CONNECTIONS
from raftsched.api.door.server import ApiServer
from raftsched.commands.envelope import Envelopes
from raftsched.commands.gate import Gate
from raftsched.commands.raising import VersionRaiser, older_than
from raftsched.commands.versions import VERSIONS
from raftsched.config import NodeConfig
from raftsched.consensus.clock_memory import ClockMemory
from raftsched.consensus.cluster_time import ClusterTime
from raftsched.consensus.directory import Directory, code_of, open_directory, stored_place
from raftsched.consensus.driver import NodeDriver
from raftsched.consensus.shard import RaftShard
from raftsched.consensus.snapshot import applied_index
from raftsched.consensus.transport import RaftTransport
from raftsched.executor.agent import ExecutorAgent, dial_leader
from raftsched.executor.secrets import Secrets
from raftsched.history.process import HistoryProcess
from raftsched.history.reader import HistoryReader
from raftsched.history.settings import HistorySettings, SinkSettings
from raftsched.net.access import AccessGate, executor_problem
from raftsched.net.channels import Channels
from raftsched.net.dial import Network
from raftsched.net.http_door import HttpDoor
from raftsched.node.errors import StartError
from raftsched.node.members import KnownMembers
from raftsched.node.replica import Replica
from raftsched.node.settings import (
    GIB,
    SECONDS_PER_HOUR,
    SHARD_ID,
    VERSION,
    Once,
    executor_settings,
    node_tls,
    raft_settings,
    shares,
    tzdata_version,
)
from raftsched.node.signals import run_all
from raftsched.notifications.delivery import Deliverer
from raftsched.outputs.files import OutputFiles
from raftsched.outputs.service import OutputCopyService
from raftsched.outputs.sources import OutputChunk, OutputSources
from raftsched.ports import Clock, Peer, Role
from raftsched.rest.server import MAX_CONNECTIONS as HTTP_CONNECTIONS
from raftsched.rest.server import ListenError, RestServer
from raftsched.scheduler.service import SchedulerService
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.statecheck.memory import CheckMemory, Origin
from raftsched.statecheck.service import StateChecker, StateCheckService, StateCheckSettings, ask_over
from raftsched.store.lmdb_store import LmdbStore
from raftsched.store.place import elsewhere

_SWEEP_S = 1.0
_HAND_OVER_S = 2.0
_STOP_GRACE_S = 0.5
_log = structlog.get_logger(__name__)


class Node:
    """A member of the cluster with everything that it offers."""

    def __init__(self, config: NodeConfig, clock: Clock, once: Once) -> None:
        self._config = config
        self._once = once
        self._clock = clock
        self._named = tuple(Peer(id_, address) for id_, address in sorted(config.peers.items()))
        self._me = next(peer for peer in self._named if peer.id == config.id)
        self._members = KnownMembers(self._named)
        self._tls = node_tls(config)
        self._network = Network(self._tls)
        self._secret = clock.token()
        """Shows the gRPC server that a call from within this machine is the node's own."""
        self._shares = shares(
            config.executor,
            http_connections=HTTP_CONNECTIONS if config.http_listen != "off" else 0,
            grpc_connections=GRPC_CONNECTIONS,
            others=len(self._named) - 1,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set or a part of the node fails."""
        config = self._config
        async with AsyncExitStack() as stack:
            store = LmdbStore(config.data_dir / "state", max_size_bytes=config.max_data_gib * GIB)
            stack.callback(store.close)
            replica = Replica(store, config.id)
            transport = RaftTransport(
                cluster_id=config.cluster_id,
                node=self._me,
                members=self._members,
                clock=self._clock,
                network=self._network,
            )
            directory = self._directory(store)
            shard = self._shard(store, replica, transport, directory)
            self._members.take(shard.members)
            shard.on_members = self._members.take
            replica.checks.origin = lambda: Origin(directory.cluster_identity, directory.since_index)
            # What the others are told of the directory is on its disk before.
            store.commit()
            memory = ClockMemory(config.data_dir / "clock.json", self._clock)
            time = ClusterTime(self._clock, config.id, lambda: shard.voter_ids, memory.resumed())
            transport.on_clock = time.heard
            driver = NodeDriver(transport=transport, store=store, clock=self._clock, settings=raft_settings(config))
            driver.add(shard)
            gate = Gate(lambda: replica.cluster_version, older=lambda version: older_than(version, shard.status()))
            envelopes = Envelopes(shard, time, config.id, gate)
            raiser = VersionRaiser(shard, envelopes, gate, time)
            scheduler = self._scheduler(store, shard, time, gate)
            replica.listen(scheduler.applied)
            history = self._history(store, shard, replica, time, envelopes)
            api = self._api(store, shard, scheduler, replica.checks, history, time, gate)
            checker = self._checker(envelopes, replica.checks, api)
            deliverer = self._deliverer(store, envelopes, time)
            replica.on_leadership = lambda term: _all_lead(
                term, scheduler.lead, checker.lead, deliverer.lead, raiser.lead
            )
            replica.listen(lambda executions, _tasks: api.feed.publish(executions))
            server = ApiServer(
                api,
                self._shares.grpc_connections,
                network=self._network,
                gate=AccessGate(config.cluster_id, self._secret) if self._tls else None,
            )
            transport.add_to_server(server.server)
            executor_pb2_grpc.add_ExecutorServiceServicer_to_server(scheduler, server.server)
            check_pb2_grpc.add_StateCheckServiceServicer_to_server(StateCheckService(replica.checks), server.server)
            copies = self._copies(time)
            output_pb2_grpc.add_OutputCopyServiceServicer_to_server(
                OutputCopyService(copies, self._output_directories), server.server
            )
            _listen(server, config.listen)
            within = server.listen_within()
            await server.start()
            stack.push_async_callback(server.stop, _STOP_GRACE_S)
            if config.http_listen != "off":
                rest = RestServer(
                    config.listen,
                    VERSION,
                    origins=config.http_origins,
                    hosts=config.http_hosts,
                    max_connections=self._shares.http_connections,
                    within=within,
                    secret=self._secret,
                    door=self._door(),
                )
                _listen_http(rest, config.http_listen)
                rest.start()
                stack.push_async_callback(rest.stop)
            transport.start()
            stack.push_async_callback(transport.close)
            work = [
                driver.run(),
                transport.watch(),
                scheduler.run(),
                deliverer.run(),
                checker.run(),
                raiser.run(),
                _sweep(copies),
                memory.keep(time),
            ]
            if history is not None:
                work.append(history.run())
            if config.executor.slots:
                agent = self._agent(api)
                await agent.start()
                stack.push_async_callback(agent.stop)
                work.append(agent.wait())
            _log.info(
                "node started", node=config.id, address=config.listen, version=VERSION, nodes=len(self._members.current)
            )
            await run_all(work, stop, lambda: self._hand_over(shard, driver))
        _log.info("node stopped", node=config.id)

    def _door(self) -> HttpDoor | None:
        config = self._config
        if self._tls is None:
            return None
        return HttpDoor(self._tls, config.cluster_id, client_auth=config.tls.client_auth == "required")

    @property
    def _output_directories(self) -> tuple[Path, ...]:
        """Of the executor of this node, and of second copies of what others ran."""
        return self._config.data_dir / "executor" / "outputs", self._config.data_dir / "outputs"

    def _copies(self, time: ClusterTime) -> OutputFiles:
        """Second copies of what executors of other nodes ran."""
        config = self._config.output
        return OutputFiles(
            self._output_directories[1],
            keep_s=config.keep_days * 24 * SECONDS_PER_HOUR,
            max_bytes=config.max_mib << 20,
            now_us=time.known_us,
            monotonic=self._clock.monotonic,
        )

    def _directory(self, store: LmdbStore) -> Directory:
        copied = elsewhere(stored_place(store), store.place())
        directory = open_directory(
            store,
            self._clock,
            cluster_id=self._config.cluster_id,
            place=store.place(),
            copied=copied,
            accept_copy=self._once.accept_copy,
        )
        directory.founds = self._config.found
        directory.newest_version = self._newest_version()
        if directory.is_new and not directory.founds and len(self._named) == 1:
            raise StartError(
                f"the data directory {self._config.data_dir} is empty, and peers names no other node that could take "
                "this one in; nothing was changed. To found a new cluster, start it with --found; to join one, name "
                "its nodes with --peers; if there was data here before, give the directory that holds it."
            )
        if directory.copy_of:
            _log.error(
                "the data directory is a copy: this node does not vote, lead or fire yet", reason=directory.copy_of
            )
        elif self._once.accept_copy and not copied:
            _log.warning("--accept-copy was not needed; leave it out: it hides the next copy")
        return directory

    def _newest_version(self) -> int:
        """What this node says that it knows: held back, the cluster version is not raised further."""
        shown = VERSIONS.shown(self._config.hold_cluster_version)
        if shown != VERSIONS.newest:
            _log.warning("the settings hold the cluster version back", at=shown, this_node_knows=VERSIONS.newest)
        return shown

    def _shard(self, store: LmdbStore, replica: Replica, transport: RaftTransport, directory: Directory) -> RaftShard:
        """Raises StartError: the directory is not of a cluster with these nodes, or not to be recovered so."""
        shard = self._make_shard(store, replica, transport, directory)
        if self._once.recover:
            self._recover(shard, directory)
        unnamed = [id_ for id_ in shard.voter_ids if id_ not in self._config.peers]
        if unnamed:
            voters = ", ".join(shard.voter_ids)
            raise StartError(
                f"the data directory is of a cluster with the voters {voters}, and peers does not name "
                f"{' and '.join(unnamed)}; nothing was changed. Name all of them with --peers. If the others are gone "
                f"for ever, start this node once with --recover {code_of(directory.cluster_identity)}: it goes on "
                "alone, and what only they held is lost."
            )
        return shard

    def _recover(self, shard: RaftShard, directory: Directory) -> None:
        code, asked = code_of(directory.cluster_identity), self._once.recover
        if directory.is_new:
            raise StartError("there is nothing to recover from: the data directory is empty; nothing was changed")
        if asked == code_of(directory.former_cluster_identity) and asked != code:
            _log.warning("this node has recovered from that cluster already; leave --recover out", cluster=asked)
            return
        if asked != code:
            raise StartError(f"--recover names cluster {asked}, the data directory is of {code}; nothing was changed")
        shard.recover()
        _log.warning(
            "recovered: this node goes on alone, as a new cluster with what its data directory holds",
            cluster_identity=directory.cluster_identity,
            former_cluster_identity=directory.former_cluster_identity,
            entries=shard.status().last_index,
        )

    def _make_shard(
        self, store: LmdbStore, replica: Replica, transport: RaftTransport, directory: Directory
    ) -> RaftShard:
        return RaftShard(
            shard_id=SHARD_ID,
            node=self._me,
            peers=self._named,
            store=store,
            clock=self._clock,
            machine=replica,
            on_leadership=lambda term: replica.on_leadership(term),
            send=lambda peer_id, message: transport.send(SHARD_ID, peer_id, message),
            settings=raft_settings(self._config),
            directory=directory,
            takes_in=True,
            cluster_version=lambda: replica.cluster_version,
        )

    def _scheduler(self, store: LmdbStore, shard: RaftShard, time: ClusterTime, gate: Gate) -> SchedulerService:
        config = self._config.scheduler
        return SchedulerService(
            log=shard,
            store=store,
            clock=time,
            node_id=self._config.id,
            members=self._members,
            settings=SchedulerSettings(
                lease_ms=config.lease_ms,
                ahead_s=config.decide_ahead_ms / 1000,
                deposed_s=self._config.raft.election_timeout_max_ms / 1000,
                keep_executions_s=round(config.keep_executions_hours * SECONDS_PER_HOUR),
                keep_executions_count=config.keep_executions_count,
                keep_ledger_s=round(config.keep_ledger_hours * SECONDS_PER_HOUR),
            ),
            gate=gate,
            stranger=executor_problem,
        )

    def _checker(self, envelopes: Envelopes, memory: CheckMemory, api: ApiContext) -> StateChecker:
        return StateChecker(
            envelopes=envelopes,
            clock=api.clock,
            node_id=self._config.id,
            members=self._members,
            memory=memory,
            ask=lambda peer, index: ask_over(api.channels.get(peer.address), index),
            settings=StateCheckSettings(
                pause_s=self._config.state_check.pause_s, step_s=self._config.state_check.step_ms / 1000
            ),
        )

    def _history(
        self, store: LmdbStore, shard: RaftShard, replica: Replica, time: ClusterTime, envelopes: Envelopes
    ) -> HistoryProcess | None:
        config = self._config
        if not config.history.enabled:
            return None

        with store.read() as reader:
            index = applied_index(reader)

        def advance(sink: str, log_index: int) -> None:
            command = envelopes.command(shard.term)
            command.advance_sink.name, command.advance_sink.log_index = sink, log_index
            # Whatever becomes of it: a later one says more.
            envelopes.propose(command, lambda _fate, _outcome: None)

        settings = HistorySettings(
            path=self._history_path,
            store_path=config.data_dir / "state",
            store_max_bytes=config.max_data_gib * GIB,
            cluster_id=config.cluster_id,
            node_id=config.id,
            keep_s=config.history.keep_days * 24 * SECONDS_PER_HOUR,
            keep_per_task=config.history.keep_per_task,
            keep_bytes=config.history.max_mib << 20,
            output_bytes=config.history.output_kib << 10,
            output_directories=self._output_directories,
            sinks=tuple(
                SinkSettings(name=name, kind=sink.kind, target=sink.target, headers=sink.headers, index=sink.index)
                for name, sink in sorted(config.history.sinks.items())
            ),
            tls=config.tls.model_dump(include={"ca", "cert", "key"}) if config.tls.on else {},
            log=config.log.model_dump(),
        )
        process = HistoryProcess(
            settings, index, lambda: shard.role is Role.LEADER, advance, time.known_us, time, self._members
        )
        replica.follow(process)
        return process

    @property
    def _history_path(self) -> Path:
        return self._config.data_dir / "history" / "index.sqlite"

    def _api(
        self,
        store: LmdbStore,
        shard: RaftShard,
        scheduler: SchedulerService,
        checks: CheckMemory,
        history: HistoryProcess | None,
        time: ClusterTime,
        gate: Gate,
    ) -> ApiContext:
        channels = Channels(self._network)
        return ApiContext(
            node_id=self._config.id,
            cluster_id=self._config.cluster_id,
            members=self._members,
            log=shard,
            store=store,
            clock=time,
            gate=gate,
            output=OutputSources(_executor_fetch(scheduler), channels, self._members),
            channels=channels,
            executors=scheduler.executors,
            knows_executors=scheduler.knows_executors,
            explainer=scheduler.explainer,
            problem=lambda: checks.problem() or shard.plight(),
            state_checked_us=lambda: checks.last_whole_end_us,
            history=None if history is None else HistoryReader(self._history_path, self._clock),
            history_problem=lambda: "" if history is None else history.problem,
            history_sinks=lambda: [] if history is None else history.sinks,
            http_address=self._config.http_address(),
            certificate_end_us=lambda: 0 if self._tls is None else round(self._tls.not_after.timestamp()) * 1_000_000,
            version=VERSION,
            tzdata_version=tzdata_version(),
        )

    def _deliverer(self, store: LmdbStore, envelopes: Envelopes, time: ClusterTime) -> Deliverer:
        directory = self._config.executor.secrets_dir
        return Deliverer(
            envelopes=envelopes,
            store=store,
            clock=time,
            cluster_id=self._config.cluster_id,
            get_secret=Secrets(Path(directory) if directory else None).get,
            version=VERSION,
        )

    def _agent(self, api: ApiContext) -> ExecutorAgent:
        async def find_leader() -> str | None:
            return api.leader_address() or None

        id_ = self._config.id
        config = self._config
        settings = executor_settings(
            config.executor, config.output, config.data_dir / "executor", id_, self._shares, node_id=id_
        )
        return ExecutorAgent(
            settings,
            find_leader,
            self._clock,
            open_channel=lambda address: dial_leader(address, self._network),
        )

    async def _hand_over(self, shard: RaftShard, driver: NodeDriver) -> None:
        """Spare the cluster an election: a leader that stops hands over first, if a follower can take it."""
        if shard.role is Role.LEADER and len(self._members.current) > 1:
            done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            shard.transfer_leadership("", lambda problem: None if done.done() else done.set_result(problem))
            try:
                problem = await asyncio.wait_for(done, _HAND_OVER_S)
            except TimeoutError:
                problem = f"not within {_HAND_OVER_S:g} s"
            if problem:
                _log.warning("could not hand over the leadership; the others will elect", reason=problem)
        driver.stop()


def _executor_fetch(
    scheduler: SchedulerService,
) -> Callable[[str, bytes, int, int, bytes], Coroutine[Any, Any, OutputChunk]]:
    """The scheduler asks the executor that ran the attempt."""

    async def fetch(executor_id: str, execution_id: bytes, attempt: int, offset: int, sha256: bytes) -> OutputChunk:
        output = await scheduler.fetch(executor_id, execution_id, attempt, offset, sha256)
        if output is None:
            return OutputChunk(found=False)
        return OutputChunk(found=True, offset=output.offset, data=output.data, ended=output.ended)

    return fetch


async def _sweep(copies: OutputFiles) -> None:
    """Delete copies that are too old or too much, a few at a time, until cancelled."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        copies.sweep()


def _all_lead(term: int | None, *leaders: Callable[[int | None], None]) -> None:
    for lead in leaders:
        lead(term)


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
