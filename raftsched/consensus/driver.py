"""Drives the shards of a node on an event loop: wakes them when one has something to do, and commits once for all.

All shards write to one store. All begin their tick, the store commits what they wrote, and only then do all end it.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from raftsched.consensus.directory import Card
from raftsched.consensus.messages import Message
from raftsched.consensus.settings import Settings
from raftsched.consensus.shard import RaftShard
from raftsched.consensus.snapshot import SnapshotPart, SnapshotPosition, SnapshotSender
from raftsched.consensus.snapshot_fetch import SnapshotFetcher
from raftsched.consensus.transport import RaftTransport
from raftsched.ports import Clock, Store


class NodeDriver:
    """Ticks the shards that are added, and carries their messages and snapshots."""

    def __init__(
        self, *, transport: RaftTransport, store: Store, clock: Clock, settings: Settings | None = None
    ) -> None:
        """All shards must write to the store and send through the transport."""
        self._transport = transport
        self._store = store
        self._clock = clock
        self._settings = settings or Settings()
        self._shards: list[_DrivenShard] = []
        self._wake = asyncio.Event()
        self._stopping = False

    def add(self, shard: RaftShard) -> None:
        """Drive this shard too. All are added before ``run``; the first one says who may talk to the node."""
        if not self._shards:
            self._transport.door = shard.doorway
        shard.on_work = self._wake.set
        shard.on_directory = self._transport.greet_again
        driven = _DrivenShard(
            shard,
            SnapshotSender(self._store, self._clock, self._settings.snapshot_chunk_bytes),
            SnapshotFetcher(shard, self._transport, self._store, self._wake.set),
        )
        self._shards.append(driven)
        self._transport.add_shard(shard.shard_id, driven)

    async def run(self) -> None:
        """Tick until ``stop``.

        Raises what ``RaftShard.tick`` raises, of whichever shard: the node must stop.
        """
        try:
            while not self._stopping:
                await self._wait_for_work()
                await self._step()
        finally:
            await self._end()

    def stop(self) -> None:
        """End ``run`` after the step under way; pending proposals end as UNKNOWN."""
        self._stopping = True
        self._wake.set()

    async def _step(self) -> None:
        # Every shard begins, also behind one that wants a commit already.
        wants_commit = [each.shard.begin_tick() for each in self._shards]
        if any(wants_commit):
            # Calls and messages come in meanwhile, and gather for the next step.
            await asyncio.wrap_future(self._store.commit_soon())
        for each in self._shards:
            each.shard.end_tick()
        for each in self._shards:
            each.watch_snapshots()

    async def _wait_for_work(self) -> None:
        delay_s = min(each.shard.next_wakeup() for each in self._shards) - self._clock.monotonic()
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

    async def _end(self) -> None:
        await asyncio.gather(*(each.end_transfers() for each in self._shards))
        for each in self._shards:
            each.shard.close()


class _DrivenShard:
    """Implements ``transport.ShardEndpoint``: a shard with the snapshots that it gives and gets."""

    def __init__(self, shard: RaftShard, sender: SnapshotSender, fetcher: SnapshotFetcher) -> None:
        self.shard = shard
        self._sender = sender
        self._fetcher = fetcher

    def receive(self, peer_id: str, message: Message, card: Card) -> bool:
        """See transport.ShardEndpoint."""
        return self.shard.receive(peer_id, message, card)

    def peer_connected(self, peer_id: str) -> None:
        """See transport.ShardEndpoint."""
        self.shard.peer_connected(peer_id)

    def peer_disconnected(self, peer_id: str) -> None:
        """See transport.ShardEndpoint."""
        self.shard.peer_disconnected(peer_id)

    def peer_heard(self, peer_id: str) -> None:
        """See transport.ShardEndpoint."""
        self.shard.peer_heard(peer_id)

    def send_snapshot(
        self, position: SnapshotPosition | None
    ) -> contextlib.AbstractContextManager[Iterator[SnapshotPart]]:
        """See transport.ShardEndpoint."""
        return self._sender.parts(position)

    def watch_snapshots(self) -> None:
        """Raises what ended a fetch, which only a defect of ours can."""
        self._sender.forget_old()
        self._fetcher.watch()

    async def end_transfers(self) -> None:
        """Of snapshots, in either direction."""
        await self._fetcher.end()
        self._sender.close()
