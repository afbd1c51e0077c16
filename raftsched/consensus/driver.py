"""Drives one Raft group on an event loop: wakes it when there is something to do, and fetches its snapshots."""

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from raftsched.consensus.group import RaftGroup
from raftsched.consensus.messages import Message
from raftsched.consensus.settings import Settings
from raftsched.consensus.snapshot import SnapshotDamaged, SnapshotPart, SnapshotReceiver, read_snapshot
from raftsched.consensus.transport import RaftTransport
from raftsched.ports import Clock, Store

_log = structlog.get_logger(__name__)
_SNAPSHOT_RETRY_S = 0.5


class GroupDriver:
    """Implements ``transport.GroupEndpoint`` for one group."""

    def __init__(
        self,
        group: RaftGroup,
        *,
        transport: RaftTransport,
        store: Store,
        clock: Clock,
        settings: Settings | None = None,
    ) -> None:
        """The group must send through the transport; it is added to the transport here."""
        self._group = group
        self._transport = transport
        self._store = store
        self._clock = clock
        self._settings = settings or Settings()
        self._wake = asyncio.Event()
        self._stopping = False
        self._fetching: asyncio.Task[None] | None = None
        group.on_work = self._wake.set
        transport.add_group(group.group_id, self)

    async def run(self) -> None:
        """Tick until ``stop``.

        Raises what ``RaftGroup.tick`` raises: the node must stop.
        """
        try:
            while not self._stopping:
                await self._wait_for_work()
                self._group.tick()
                self._watch_snapshot()
        finally:
            await self._end()

    def stop(self) -> None:
        """End ``run`` after the step under way; pending proposals end as UNKNOWN."""
        self._stopping = True
        self._wake.set()

    def receive(self, peer_id: str, message: Message) -> bool:
        """See transport.GroupEndpoint."""
        return self._group.receive(peer_id, message)

    def peer_connected(self, peer_id: str) -> None:
        """See transport.GroupEndpoint."""
        self._group.peer_connected(peer_id)

    def peer_disconnected(self, peer_id: str) -> None:
        """See transport.GroupEndpoint."""
        self._group.peer_disconnected(peer_id)

    def peer_heard(self, peer_id: str) -> None:
        """See transport.GroupEndpoint."""
        self._group.peer_heard(peer_id)

    @contextlib.contextmanager
    def read_snapshot(self) -> Iterator[Iterator[SnapshotPart]]:
        """See transport.GroupEndpoint."""
        with self._store.read() as view:
            yield read_snapshot(view, self._settings.snapshot_chunk_bytes)

    async def _wait_for_work(self) -> None:
        delay_s = self._group.next_wakeup() - self._clock.monotonic()
        if delay_s <= 0:
            self._wake.set()
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(delay_s, self._wake.set) if 0 < delay_s < float("inf") else None
        await self._wake.wait()
        if alarm is not None:
            alarm.cancel()
        # What else is ready joins this step, and shares its commit.
        await asyncio.sleep(0)
        self._wake.clear()

    def _watch_snapshot(self) -> None:
        if self._fetching is not None and self._fetching.done():
            fetching, self._fetching = self._fetching, None
            fetching.result()
        if self._group.snapshot_source and self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_snapshot(self._group.snapshot_source))
            self._fetching.add_done_callback(lambda _: self._wake.set())

    async def _fetch_snapshot(self, peer_id: str) -> None:
        _log.info("fetching a snapshot", peer=peer_id)
        receiver = SnapshotReceiver(self._store)
        try:
            async with contextlib.aclosing(self._transport.fetch_snapshot(self._group.group_id, peer_id)) as parts:
                async for part in parts:
                    receiver.add(part)
            if not receiver.complete:
                raise SnapshotDamaged("a snapshot ended before its trailer")
        except (ConnectionError, SnapshotDamaged) as error:
            _log.warning("could not fetch a snapshot", peer=peer_id, error=str(error))
            await asyncio.sleep(_SNAPSHOT_RETRY_S)
            self._group.snapshot_failed()
            return
        _log.info("fetched a snapshot", peer=peer_id, index=receiver.header.index, term=receiver.header.term)
        self._group.install_snapshot(receiver)

    async def _end(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        self._group.close()
