"""An executor pool: finds the leader, stays connected to it, and runs what it is given."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import cycle

import grpc
import structlog
from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2_grpc as pb_grpc
from raftsched_proto.v1 import cluster_pb2

from raftsched.cancellation import end_if_cancelled
from raftsched.core.backoff import Backoff, Retries
from raftsched.executor.actions.base import Surroundings
from raftsched.executor.actions.callables import exposed_names
from raftsched.executor.copies import Copier
from raftsched.executor.leader_session import LeaderSession, Redirected, SessionOver
from raftsched.executor.machine import Machine, RunnerSet
from raftsched.executor.settings import ExecutorSettings
from raftsched.executor.workload import Workload
from raftsched.net.dial import PLAIN, Network
from raftsched.ports import Clock, StoreFailed

LeaderFinder = Callable[[], Awaitable[str | None]]
"""Gives the leader's address (host:port), or None while none is known."""
Metadata = Sequence[tuple[str, str]]

_MAX_HOPS = 3
"""Redirects that are followed without a pause."""
_DRAIN_NOTICE_S = 1.0
FLUSH_TIMEOUT_S = 10.0
_MAX_TROUBLES = 100
_MAX_CALLABLES = 1_000
_CHANNEL_OPTIONS = [
    # Channels to one address would otherwise share a connection and its backoff.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
]

_log = structlog.get_logger(__name__)


def dial_leader(address: str, network: Network = PLAIN) -> grpc.aio.Channel:
    """A channel to a node."""
    return network.dial(address, _CHANNEL_OPTIONS)


def no_metadata() -> Metadata:
    """No metadata."""
    return ()


class ExecutorAgent:
    """One executor pool.

    Attempts run on when the stream breaks; their reports wait, in the journal, for the next leader. Create, start and
    use it within one event loop.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        find_leader: LeaderFinder | Sequence[str],
        clock: Clock,
        *,
        open_channel: Callable[[str], grpc.aio.Channel] = dial_leader,
        metadata: Callable[[], Metadata] = no_metadata,
        machine: Machine | None = None,
    ) -> None:
        """Nothing happens before ``start``.

        ``find_leader`` is asked before each connection; or give endpoints, which are tried in turn. ``open_channel``
        makes the channel to an address, ``metadata`` what is sent with each connection, such as credentials.
        ``machine`` is this one unless given.
        """
        self._settings = settings
        self._find_leader = find_leader if callable(find_leader) else _in_turn(find_leader)
        self._clock = clock
        self._open_channel = open_channel
        self._metadata = metadata
        self._machine = machine or Machine()
        self._retries = Retries(Backoff(settings.backoff_low_s, settings.backoff_high_s), clock)
        self._incarnation = clock.token()
        self._draining = False
        self._session: LeaderSession | None = None
        self._address = ""
        self._troubles: dict[str, str] = {}
        """Why there was no connection, by address, since there last was one."""
        self._runners: RunnerSet | None = None
        self._capabilities: cluster_pb2.Capabilities | None = None
        self._workload: Workload | None = None
        self._copier: Copier | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._over: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Open the data directory and begin to connect. Raises ports.StoreRefused."""
        settings = self._settings
        runners = self._runners = self._machine.runners(Surroundings(settings, self._clock))
        self._capabilities = _capabilities(runners, settings)
        workload = self._workload = Workload(settings, self._clock, runners, self._wake, self._machine)
        copier = self._copier = Copier(
            workload.files,
            self._clock,
            settings.node_id,
            self._open_channel,
            self._metadata,
            workload.outbox.copied,
            settings.data_dir / "outputs-uncopied",
        )
        copier.resume()
        workload.runs.on_stored = copier.add
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        for work in (*workload.jobs(), copier.run(), self._stay_connected(workload)):
            task = loop.create_task(work)
            task.add_done_callback(self._on_task_end)
            self._tasks.append(task)

    @property
    def executor_id(self) -> str:
        """Kept in the data directory; "" before ``start``."""
        return self._workload.executor_id if self._workload else ""

    @property
    def leader_address(self) -> str:
        """Whom it is connected to; "" while it is not."""
        return self._address if self._session else ""

    @property
    def slots_used(self) -> int:
        """Slots that are occupied."""
        return self._workload.runs.slots_used if self._workload else 0

    async def wait(self) -> None:
        """Wait until it is stopped. Raises ports.StoreFailed when the disk refuses the journal: it must be stopped."""
        assert self._over is not None, "the agent was not started"
        await asyncio.shield(self._over)

    async def drain(self, flush_timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Ask for no more work, finish what was accepted, have its reports acknowledged, then stop.

        Attempts may take as long as they like; reports only ``flush_timeout_s``. False when some were not acknowledged
        by then: they are in the journal and sent after the next start.
        """
        workload = self._workload
        assert workload is not None, "the agent was not started, or was stopped"
        assert self._over is not None
        self._draining = True
        workload.inbox.armed.close()
        if self._session is not None:
            self._session.beat()
            await _first(self._session.drain_known.wait(), self._over, _DRAIN_NOTICE_S)
        await _first(workload.runs.idle.wait(), self._over)
        await _first(workload.outbox.settled.wait(), self._over, flush_timeout_s)
        complete = not workload.held
        await self.stop()
        return complete

    async def stop(self) -> None:
        """Stop at once: kill what runs, which is recorded as lost, give back what is armed, and release everything."""
        await self._hand_back()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._workload is None:
            return
        workload, self._workload = self._workload, None
        try:
            await workload.stop()
        except StoreFailed as error:
            self._fail(error)
        workload.close()
        if self._runners is not None:
            await self._runners.close()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    async def _hand_back(self) -> None:
        """Give back what is armed. The leader would learn of it no sooner than a lease is over."""
        if self._workload is None or self._over is None:
            return
        self._workload.inbox.armed.close()
        if self._session is not None and self._workload.outbox.gives_back:
            await _first(self._session.all_read(), self._over, _DRAIN_NOTICE_S)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._over is not None and not self._over.done():
            _log.error("executor failed", error=f"{error}")
            self._over.set_exception(error)
            # Whoever does not wait has the log.
            self._over.exception()

    def _wake(self) -> None:
        if self._session is not None:
            self._session.wake()

    async def _stay_connected(self, workload: Workload) -> None:
        redirect = ""
        hops = 0
        while True:
            address = redirect or await self._find_leader() or ""
            ended = await self._serve(address, workload) if address else _Ended("no leader is known")
            end_if_cancelled()
            self._note(address, ended)
            redirect = ended.redirect
            if redirect and hops < _MAX_HOPS:
                hops += 1
                continue
            hops = 0
            await asyncio.sleep(self._retries.failed())

    def _take_copy_nodes(self, nodes: Sequence[pb.CopyNode]) -> None:
        if self._copier is not None:
            self._copier.nodes = nodes

    async def _serve(self, address: str, workload: Workload) -> "_Ended":
        """Connect to one address and serve until the stream ends."""
        channel = self._open_channel(address)
        call = pb_grpc.ExecutorServiceStub(channel).Connect(metadata=tuple(self._metadata()))
        session = LeaderSession(call, workload, self._clock, lambda: self._draining, self._take_copy_nodes)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await session.greet(self._hello(workload))
            self._session, self._address = session, address
            self._retries.began()
            self._troubles.clear()
            _log.info("connected to the leader", address=address, executor_id=workload.executor_id)
            await session.run()
            raise AssertionError("a session ends by an exception")
        except Redirected as error:
            return _Ended(f"{error}", error.leader_address)
        except TimeoutError:
            return _Ended(f"no welcome within {self._settings.connect_timeout_s:g} s")
        except SessionOver as error:
            return _Ended(f"{error}")
        except grpc.aio.AioRpcError as error:
            return _Ended(f"{error.code().name}: {error.details()}")
        except asyncio.InvalidStateError:
            # A write found that the stream had ended.
            return _Ended(f"{(await call.code()).name}: {await call.details()}")
        finally:
            self._session = None
            call.cancel()
            await channel.close()

    def _hello(self, workload: Workload) -> pb.Hello:
        settings = self._settings
        workload.outbox.introduce()
        return pb.Hello(
            executor_id=workload.executor_id,
            incarnation=self._incarnation,
            labels=dict(settings.labels),
            slots=settings.slots,
            version=settings.version,
            node_id=settings.node_id,
            draining=self._draining,
            remote_slots=settings.remote_slots,
            capabilities=self._capabilities,
            held=[pb.AttemptKey(execution_id=key[0], attempt=key[1]) for key in workload.held],
            arms=True,
            armed=[pb.AttemptKey(execution_id=key[0], attempt=key[1]) for key in workload.inbox.armed.keys],
        )

    def _note(self, address: str, ended: "_Ended") -> None:
        """Log why there is no connection, once for each address and reason."""
        if self._troubles.get(address) != ended.reason:
            if len(self._troubles) >= _MAX_TROUBLES:
                self._troubles.clear()
            self._troubles[address] = ended.reason
            _log.warning("not connected to the leader", address=address, reason=ended.reason)


def _capabilities(runners: RunnerSet, settings: ExecutorSettings) -> cluster_pb2.Capabilities | None:
    """What this executor can run; None when that is too much to say."""
    callables = exposed_names(settings.python_allow)
    if len(callables) > _MAX_CALLABLES:
        return None
    return cluster_pb2.Capabilities(action_kinds=runners.kinds, callables=callables)


async def _first(
    wanted: Coroutine[object, object, object], over: "asyncio.Future[None]", timeout_s: float | None = None
) -> None:
    """Wait for what is wanted, unless all is over or the time has passed."""
    task = asyncio.ensure_future(wanted)
    await asyncio.wait((task, over), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()


@dataclass(frozen=True, slots=True)
class _Ended:
    """Why a connection ended."""

    reason: str
    redirect: str = ""


def _in_turn(endpoints: Sequence[str]) -> LeaderFinder:
    """Any node knows the leader: ask them one after the other."""
    addresses = cycle(tuple(endpoints))

    async def find() -> str | None:
        return next(addresses, None)

    return find
