"""An executor pool: finds the leader, stays connected to it, and runs what it is given."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import cycle

import grpc
import structlog

from raftsched.cancellation import end_if_cancelled
from raftsched.executor.actions.base import Surroundings
from raftsched.executor.attempts import Attempts
from raftsched.executor.copies import Copier
from raftsched.executor.machine import Machine, RunnerSet
from raftsched.executor.session import Redirected, Session, SessionOver
from raftsched.executor.settings import ExecutorSettings
from raftsched.internal.v1 import executor_pb2 as pb
from raftsched.internal.v1 import executor_pb2_grpc as pb_grpc
from raftsched.ports import Clock, StoreFailed

LeaderFinder = Callable[[], Awaitable[str | None]]
"""Gives the leader's address (host:port), or None while none is known."""
Metadata = Sequence[tuple[str, str]]

_MAX_HOPS = 3
"""Redirects that are followed without a pause."""
_DRAIN_NOTICE_S = 1.0
_MAX_TROUBLES = 100
_CHANNEL_OPTIONS = [
    # Channels to one address would otherwise share a connection and its backoff.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
]

_log = structlog.get_logger(__name__)


def open_insecure(address: str) -> grpc.aio.Channel:
    """A channel without encryption."""
    return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)


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
        open_channel: Callable[[str], grpc.aio.Channel] = open_insecure,
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
        self._incarnation = clock.token()
        self._draining = False
        self._session: Session | None = None
        self._address = ""
        self._troubles: dict[str, str] = {}
        """Why there was no connection, by address, since there last was one."""
        self._runners: RunnerSet | None = None
        self._attempts: Attempts | None = None
        self._copier: Copier | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._over: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Open the data directory and begin to connect. Raises ports.StoreRefused."""
        settings = self._settings
        runners = self._runners = self._machine.runners(Surroundings(settings, self._clock))
        attempts = self._attempts = Attempts(settings, self._clock, runners, self._wake, self._machine)
        copier = self._copier = Copier(
            attempts.files,
            self._clock,
            settings.node_id,
            self._open_channel,
            self._metadata,
            attempts.copied,
            settings.data_dir / "outputs-uncopied",
        )
        copier.resume()
        attempts.on_stored = copier.add
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        for work in (
            attempts.flush_ends(),
            attempts.sync_starts(),
            attempts.keep_house(),
            attempts.bury(),
            copier.run(),
            self._stay_connected(attempts),
        ):
            task = loop.create_task(work)
            task.add_done_callback(self._on_task_end)
            self._tasks.append(task)

    @property
    def executor_id(self) -> str:
        """Kept in the data directory; "" before ``start``."""
        return self._attempts.executor_id if self._attempts else ""

    @property
    def leader_address(self) -> str:
        """Whom it is connected to; "" while it is not."""
        return self._address if self._session else ""

    @property
    def slots_used(self) -> int:
        """Slots that are occupied."""
        return self._attempts.slots_used if self._attempts else 0

    async def wait(self) -> None:
        """Wait until it is stopped. Raises ports.StoreFailed when the disk refuses the journal: it must be stopped."""
        assert self._over is not None, "the agent was not started"
        await asyncio.shield(self._over)

    async def drain(self, flush_timeout_s: float = 10.0) -> bool:
        """Ask for no more work, finish what was accepted, have its reports acknowledged, then stop.

        Attempts may take as long as they like; reports only ``flush_timeout_s``. False when some were not acknowledged
        by then: they are in the journal and sent after the next start.
        """
        attempts = self._attempts
        assert attempts is not None, "the agent was not started, or was stopped"
        assert self._over is not None
        self._draining = True
        if self._session is not None:
            self._session.beat()
            await _first(self._session.drain_known.wait(), self._over, _DRAIN_NOTICE_S)
        await _first(attempts.idle.wait(), self._over)
        await _first(attempts.settled.wait(), self._over, flush_timeout_s)
        complete = not attempts.held
        await self.stop()
        return complete

    async def stop(self) -> None:
        """Stop at once: kill what runs, which is recorded as lost, and release everything."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._attempts is None:
            return
        attempts, self._attempts = self._attempts, None
        try:
            await attempts.stop()
        except StoreFailed as error:
            self._fail(error)
        attempts.close()
        if self._runners is not None:
            await self._runners.close()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

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

    async def _stay_connected(self, attempts: Attempts) -> None:
        redirect = ""
        failures = hops = 0
        while True:
            address = redirect or await self._find_leader() or ""
            ended = await self._serve(address, attempts) if address else _Ended("no leader is known")
            end_if_cancelled()
            self._note(address, ended)
            if ended.served:
                failures = 0
            redirect = ended.redirect
            if redirect and hops < _MAX_HOPS:
                hops += 1
                continue
            hops = 0
            ceiling_s = min(self._settings.backoff_high_s, self._settings.backoff_low_s * 2**failures)
            failures = min(failures + 1, 16)
            await asyncio.sleep(self._clock.uniform(ceiling_s / 2, ceiling_s))

    async def _serve(self, address: str, attempts: Attempts) -> "_Ended":
        """Connect to one address and serve until the stream ends."""
        channel = self._open_channel(address)
        call = pb_grpc.ExecutorServiceStub(channel).Connect(metadata=tuple(self._metadata()))
        session = Session(call, attempts, self._clock, lambda: self._draining)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await session.greet(self._hello(attempts))
            self._session, self._address = session, address
            self._troubles.clear()
            if self._copier is not None:
                self._copier.nodes = session.copy_nodes
            _log.info("connected to the leader", address=address, executor_id=attempts.executor_id)
            await session.run()
            raise AssertionError("a session ends by an exception")
        except Redirected as error:
            return _Ended(f"{error}", error.leader_address, served=self._session is session)
        except TimeoutError:
            return _Ended(f"no welcome within {self._settings.connect_timeout_s:g} s")
        except SessionOver as error:
            return _Ended(f"{error}", served=self._session is session)
        except grpc.aio.AioRpcError as error:
            return _Ended(f"{error.code().name}: {error.details()}", served=self._session is session)
        except asyncio.InvalidStateError:
            # A write found that the stream had ended.
            return _Ended(f"{(await call.code()).name}: {await call.details()}", served=self._session is session)
        finally:
            self._session = None
            call.cancel()
            await channel.close()

    def _hello(self, attempts: Attempts) -> pb.Hello:
        settings = self._settings
        return pb.Hello(
            executor_id=attempts.executor_id,
            incarnation=self._incarnation,
            labels=dict(settings.labels),
            slots=settings.slots,
            version=settings.version,
            node_id=settings.node_id,
            draining=self._draining,
            remote_slots=settings.remote_slots,
            held=[pb.AttemptKey(execution_id=key[0], attempt=key[1]) for key in attempts.held],
        )

    def _note(self, address: str, ended: "_Ended") -> None:
        """Log why there is no connection, once for each address and reason."""
        if self._troubles.get(address) != ended.reason:
            if len(self._troubles) >= _MAX_TROUBLES:
                self._troubles.clear()
            self._troubles[address] = ended.reason
            _log.warning("not connected to the leader", address=address, reason=ended.reason)


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
    served: bool = False


def _in_turn(endpoints: Sequence[str]) -> LeaderFinder:
    """Any node knows the leader: ask them one after the other."""
    addresses = cycle(tuple(endpoints))

    async def find() -> str | None:
        return next(addresses, None)

    return find
