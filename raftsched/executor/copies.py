"""Gives each stored output to one more node, so that it survives the loss of this executor's disk."""

import asyncio
import hashlib
import heapq
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path

import grpc
import structlog
from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.internal.v1 import output_pb2 as opb
from raftsched_proto.internal.v1 import output_pb2_grpc

from raftsched.core.backoff import Backoff
from raftsched.executor.keys import AttemptKey, describe
from raftsched.outputs.files import OutputDamaged, OutputFiles, file_name, key_of
from raftsched.ports import Clock

MAX_WAITING = 10_000
"""Outputs that wait for their copy. Beyond it, the one that would be tried last stays without."""
MAX_TRIES = 10
"""With the waits below, three to four minutes."""
_WORKERS = 2
_TIMEOUT_S = 5.0
_BACKOFF = Backoff(low_s=0.5, high_s=60.0)
_log = structlog.get_logger(__name__)


def copy_order(nodes: Sequence[pb.CopyNode], execution_id: bytes, own_node_id: str) -> list[pb.CopyNode]:
    """The nodes that may take the copy, best first: the same everywhere, and spread over all (rendezvous hashing)."""
    others = [node for node in nodes if node.id != own_node_id]
    return sorted(others, key=lambda node: blake2b(execution_id + node.id.encode(), digest_size=8).digest())


class Copier:
    """Pushes outputs in the background. Nothing waits for it."""

    def __init__(
        self,
        files: OutputFiles,
        clock: Clock,
        own_node_id: str,
        open_channel: Callable[[str], grpc.aio.Channel],
        metadata: Callable[[], Sequence[tuple[str, str]]],
        on_copied: Callable[[AttemptKey, str], None],
        notes: Path,
    ) -> None:
        """``on_copied`` is told the attempt and the id of the node that has taken the copy.

        ``notes``: a directory that says by empty files which outputs wait, for the process after this one.
        """
        self._notes = notes
        self._files = files
        self._clock = clock
        self._own_node_id = own_node_id
        self._open_channel = open_channel
        self._metadata = metadata
        self._on_copied = on_copied
        self.nodes: Sequence[pb.CopyNode] = ()
        """As the leader named them last."""
        self._waiting: list[tuple[float, int, int, AttemptKey, bytes]] = []
        """When to try, a number, how often it was tried, the attempt, the digest (empty: not known): a heap."""
        self._numbers = count()
        self._added = asyncio.Event()
        self._channels: dict[str, grpc.aio.Channel] = {}

    def add(self, key: AttemptKey, sha256: bytes) -> None:
        """Have a copy made of an output that is stored."""
        # A disk that refuses a note has refused the output before: then a restart forgets that it waits.
        with suppress(OSError):
            self._notes.mkdir(exist_ok=True)
            (self._notes / file_name(key)).touch()
        self._wait(0.0, 0, key, sha256)

    def resume(self) -> int:
        """Make the copies that waited when the process before this one ended; how many, ``MAX_WAITING`` at most."""
        try:
            found = sorted(os.scandir(self._notes), key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        except FileNotFoundError:
            return 0
        for entry in found[MAX_WAITING:]:
            os.unlink(entry.path)
        for entry in found[:MAX_WAITING]:
            key = key_of(entry.name)
            if key is not None:
                self._wait(0.0, 0, key, b"")
        return len(self._waiting)

    def _settled(self, key: AttemptKey) -> None:
        """Nothing more is to be done about it."""
        with suppress(OSError):
            (self._notes / file_name(key)).unlink()

    def _wait(self, wait_s: float, tries: int, key: AttemptKey, sha256: bytes) -> None:
        due_s = self._clock.monotonic() + wait_s
        heapq.heappush(self._waiting, (due_s, next(self._numbers), tries, key, sha256))
        if len(self._waiting) > MAX_WAITING:
            last = max(self._waiting)
            self._waiting.remove(last)
            heapq.heapify(self._waiting)
            self._give_up(last[3], f"{MAX_WAITING} outputs wait for their copy")
        self._added.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await asyncio.gather(*(self._work() for _ in range(_WORKERS)))
        finally:
            channels, self._channels = self._channels, {}
            for channel in channels.values():
                await channel.close()

    async def _work(self) -> None:
        while True:
            wait_s = self._waiting[0][0] - self._clock.monotonic() if self._waiting else None
            if wait_s is not None and wait_s <= 0:
                _, _, tries, key, sha256 = heapq.heappop(self._waiting)
                await self._try(tries, key, sha256)
                continue
            self._added.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._added.wait()

    async def _try(self, tries: int, key: AttemptKey, sha256: bytes) -> None:
        nodes = copy_order(self.nodes, key[0], self._own_node_id)
        if self.nodes and not nodes:
            # A cluster of one node, and this is it.
            self._settled(key)
            return
        if nodes:
            node = nodes[tries % len(nodes)]
            problem = await self._push(node, key, sha256)
            if not problem:
                self._on_copied(key, node.id)
                self._settled(key)
                return
        else:
            problem = "no leader has named a node yet"
        if tries + 1 >= MAX_TRIES:
            self._give_up(key, problem)
        else:
            self._wait(_BACKOFF.wait_s(tries + 1, self._clock), tries + 1, key, sha256)

    async def _push(self, node: pb.CopyNode, key: AttemptKey, sha256: bytes) -> str:
        """Why the node has not taken it, or ""."""
        try:
            stored = await asyncio.to_thread(self._files.load, key, sha256)
        except (OSError, OutputDamaged) as error:
            return str(error)
        if stored is None:
            return "the output is no longer stored here"
        request = opb.PutOutputRequest(
            execution_id=key[0],
            attempt=key[1],
            size_bytes=stored.size_bytes,
            head_bytes=stored.head_bytes,
            data=stored.data,
            # Not known of what waited before a restart.
            sha256=sha256 or hashlib.sha256(stored.data).digest(),
        )
        if node.address not in self._channels:
            self._channels[node.address] = self._open_channel(node.address)
        stub = output_pb2_grpc.OutputCopyServiceStub(self._channels[node.address])
        try:
            await stub.PutOutput(request, timeout=_TIMEOUT_S, metadata=tuple(self._metadata()))
        except grpc.aio.AioRpcError as error:
            # The next one opens it anew, with the certificates of then.
            failed = self._channels.pop(node.address, None)
            if failed is not None:
                await failed.close(_TIMEOUT_S)
            return f"{node.id} at {node.address}: {error.code().name}: {error.details()}"
        return ""

    def _give_up(self, key: AttemptKey, reason: str) -> None:
        self._settled(key)
        _log.warning("an output has no second copy", attempt=describe(key), reason=reason)
