"""Drives one Raft group on an event loop: wakes it when there is something to do, and fetches its snapshots."""

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from raftsched.consensus.group import RaftGroup
from raftsched.consensus.messages import Message
from raftsched.consensus.settings import Settings
from raftsched.consensus.snapshot import (
    SnapshotDamaged,
    SnapshotPart,
    SnapshotPosition,
    SnapshotReceiver,
    SnapshotSender,
)
from raftsched.consensus.transport import RaftTransport
from raftsched.ports import Clock, Store

_log = structlog.get_logger(__name__)
_SNAPSHOT_RETRY_S = 0.5
_MAX_ATTEMPTS = 5


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
        self._sender = SnapshotSender(store, clock, (settings or Settings()).snapshot_chunk_bytes)
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
                if self._group.begin_tick():
                    # Calls and messages come in meanwhile, and gather for the next step.
                    await asyncio.wrap_future(self._store.commit_soon())
                self._group.end_tick()
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

    def send_snapshot(
        self, position: SnapshotPosition | None
    ) -> contextlib.AbstractContextManager[Iterator[SnapshotPart]]:
        """See transport.GroupEndpoint."""
        return self._sender.parts(position)

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
        self._sender.forget_old()
        if self._fetching is not None and self._fetching.done():
            fetching, self._fetching = self._fetching, None
            fetching.result()
        if self._group.snapshot_source and self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_snapshot(self._group.snapshot_source))
            self._fetching.add_done_callback(lambda _: self._wake.set())

    async def _fetch_snapshot(self, peer_id: str) -> None:
        """Fetch it, going on where a stream broke off; after some attempts without a new row, give up."""
        receiver = SnapshotReceiver(self._store)
        attempts = 0
        while not receiver.complete:
            position = receiver.position
            try:
                await self._receive_parts(peer_id, receiver)
            except (ConnectionError, SnapshotDamaged) as error:
                attempts = attempts + 1 if receiver.position == position else 1
                _log.warning("a snapshot broke off", peer=peer_id, attempts=attempts, error=str(error))
                await asyncio.sleep(_SNAPSHOT_RETRY_S)
                if attempts >= _MAX_ATTEMPTS or isinstance(error, SnapshotDamaged):
                    receiver.discard()
                    self._group.snapshot_failed()
                    return
        _log.info("fetched a snapshot", peer=peer_id, index=receiver.header.index, rows=receiver.header.rows)
        self._group.install_snapshot(receiver)

    async def _receive_parts(self, peer_id: str, receiver: SnapshotReceiver) -> None:
        _log.info("fetching a snapshot", peer=peer_id, resumed=receiver.position is not None)
        stream = self._transport.fetch_snapshot(self._group.group_id, peer_id, receiver.position)
        async with contextlib.aclosing(stream) as parts:
            async for part in parts:
                receiver.add(part)
        if not receiver.complete:
            raise SnapshotDamaged("a snapshot ended before its last row")

    async def _end(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        self._sender.close()
        self._group.close()
