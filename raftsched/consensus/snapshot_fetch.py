"""Fetches the snapshots that one shard asks for, from the peers that have them."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from raftsched.consensus.shard import RaftShard
from raftsched.consensus.snapshot import SnapshotDamaged, SnapshotReceiver
from raftsched.consensus.transport import RaftTransport
from raftsched.ports import Store

_log = structlog.get_logger(__name__)
_RETRY_S = 0.5
_MAX_ATTEMPTS = 5


class SnapshotFetcher:
    """At most one snapshot at a time, beside the shard's ticks."""

    def __init__(self, shard: RaftShard, transport: RaftTransport, store: Store, on_end: Callable[[], None]) -> None:
        """``on_end`` is called when a fetch has ended: the shard has something to do, or asks for another."""
        self._shard = shard
        self._transport = transport
        self._store = store
        self._on_end = on_end
        self._fetching: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begin to fetch what the shard asks for. Raises what ended a fetch, which only a defect of ours can."""
        if self._fetching is not None and self._fetching.done():
            fetching, self._fetching = self._fetching, None
            fetching.result()
        if self._shard.snapshot_source and self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(self._shard.snapshot_source))
            self._fetching.add_done_callback(lambda _: self._on_end())

    async def end(self) -> None:
        """Give up what is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _fetch(self, peer_id: str) -> None:
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
                await asyncio.sleep(_RETRY_S)
                if attempts >= _MAX_ATTEMPTS or isinstance(error, SnapshotDamaged):
                    receiver.discard()
                    self._shard.snapshot_failed()
                    return
        _log.info("fetched a snapshot", peer=peer_id, index=receiver.header.index, rows=receiver.header.rows)
        self._shard.install_snapshot(receiver)

    async def _receive_parts(self, peer_id: str, receiver: SnapshotReceiver) -> None:
        _log.info("fetching a snapshot", peer=peer_id, resumed=receiver.position is not None)
        stream = self._transport.fetch_snapshot(self._shard.shard_id, peer_id, receiver.position)
        async with contextlib.aclosing(stream) as parts:
            async for part in parts:
                receiver.add(part)
        if not receiver.complete:
            raise SnapshotDamaged("a snapshot ended before its last row")
