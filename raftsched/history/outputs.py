"""Brings stored outputs into the text index, after their records: from files of this node, else from another node.

Every node indexes the same part of each, so that all answer alike once they have it.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import grpc
import structlog
from raftsched_proto.internal.v1 import output_pb2, output_pb2_grpc

from raftsched.core.backoff import Backoff
from raftsched.core.state import ids
from raftsched.core.state.rows import ExecutionRow
from raftsched.history.index import Index
from raftsched.history.schema import BODY
from raftsched.history.text import plain
from raftsched.net.dial import PLAIN, Network
from raftsched.outputs.files import MAX_STORED_BYTES, find

MAX_TRIES = 20
"""With the waits below, about two hours."""
BACKOFF = Backoff(low_s=1.0, high_s=600.0)
_BATCH = 4
"""Outputs that are read and indexed together."""
_POLL_S = 0.02
_NEVER_MS = 1 << 62
_RPC_TIMEOUT_S = 3.0
_OPTIONS = [("grpc.max_receive_message_length", 2 * MAX_STORED_BYTES)]
_log = structlog.get_logger(__name__)

Read = Callable[[int], tuple[int, bytes]]
"""Some of an output from an offset on, and the offset of its first byte, which is higher after a gap."""
Fetch = Callable[[bytes, ExecutionRow], str | None]


def excerpt(read: Read, size_bytes: int, limit_bytes: int) -> bytes:
    """What is indexed of an output: all, or of one beyond the limit half from its beginning and half from its end.

    Parts that do not follow each other stand on lines of their own.
    """
    half = limit_bytes // 2
    spans = [(0, size_bytes)] if size_bytes <= limit_bytes else [(0, half), (size_bytes - half, size_bytes)]
    parts, behind = [], 0
    for start, end in spans:
        offset = start
        while offset < end:
            found, data = read(offset)
            if not data or found >= end:
                break
            data = data[: end - found]
            parts += [b"\n" if found > behind else b"", data]
            offset = behind = found + len(data)
    return b"".join(parts)


class OutputFetcher:
    """Reads an output where it is. Blocks; for threads."""

    def __init__(self, directories: tuple[Path, ...], limit_bytes: int, network: Network = PLAIN) -> None:
        self._directories = directories
        self._network = network
        self._generation = network.generation
        self._limit_bytes = limit_bytes
        self._channels: dict[str, grpc.Channel] = {}

    def know(self, addresses: Iterable[str]) -> None:
        """Ask these nodes (host:port) from now on, and no others."""
        # A new one: a thread may be at the old one, whose channels end when nobody uses them any more.
        self._channels = {at: self._channels.get(at) or self._network.dial_blocking(at, _OPTIONS) for at in addresses}

    def __call__(self, execution_id: bytes, row: ExecutionRow) -> str | None:
        """The text to index of the last attempt; None when nobody has it now."""
        data = self._local(execution_id, row)
        if data is None:
            self._renew()
            channels = self._channels.values()
            data = next(filter(None, (self._remote(channel, execution_id, row) for channel in channels)), None)
        return None if data is None else plain(data.decode(errors="replace"))

    def _renew(self) -> None:
        """Open the channels anew when the certificates have changed."""
        if self._network.generation != self._generation:
            self._generation = self._network.generation
            addresses, self._channels = list(self._channels), {}
            self.know(addresses)

    def _local(self, execution_id: bytes, row: ExecutionRow) -> bytes | None:
        stored = find(self._directories, (execution_id, row.attempt), row.result.output_sha256)
        return None if stored is None else excerpt(stored.read, row.result.output_size_bytes, self._limit_bytes)

    def _remote(self, channel: grpc.Channel, execution_id: bytes, row: ExecutionRow) -> bytes | None:
        stub = output_pb2_grpc.OutputCopyServiceStub(channel)

        def read(offset: int) -> tuple[int, bytes]:
            request = output_pb2.FetchOutputRequest(
                execution_id=execution_id, attempt=row.attempt, offset=offset, sha256=row.result.output_sha256
            )
            response = stub.FetchOutput(request, timeout=_RPC_TIMEOUT_S)
            if not response.found:
                raise _NotThere
            return response.offset, response.data

        try:
            return excerpt(read, row.result.output_size_bytes, self._limit_bytes)
        except (_NotThere, grpc.RpcError):
            # Gone, damaged (which the log of that node tells) or not reachable: it is asked for again later.
            return None

    def close(self) -> None:
        """End the connections, and with them what is under way."""
        for channel in self._channels.values():
            channel.close()


class _NotThere(Exception):
    """The node that was asked does not have it."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    seq: int
    key: bytes
    tries: int
    text: "Future[str | None]"


class OutputIndexer:
    """Works off the queue of the index, a few at a time. Reading is done in a thread, all writing by ``step``."""

    def __init__(self, index: Index, fetch: Fetch, now_us: Callable[[], int]) -> None:
        """``now_us`` gives the time of the cluster in microseconds since the Unix epoch, 0 while it is not known."""
        self._index = index
        self._fetch = fetch
        self._now_us = now_us
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="outputs")
        self._under_way: list[_Wanted] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def step(self, idle_s: float) -> float:
        """Index what has been read, or have the next read; the seconds until there may be more to do."""
        if self._under_way:
            if not all(each.text.done() for each in self._under_way):
                return _POLL_S
            taken, self._under_way = self._under_way, []
            with self._index.transaction():
                for each in taken:
                    self._take(each)
            return 0.0
        due = self._index.sql.execute(
            f"SELECT w.seq, w.tries, r.key, {BODY} FROM wanted_outputs w JOIN records r USING (seq) "  # noqa: S608 - ours
            # Whoever wrote down a longer wait than there is had a clock that was ahead.
            "WHERE w.due_ms <= ? OR w.due_ms > ? ORDER BY w.due_ms LIMIT ?",
            (now_ms := self._now_ms(), now_ms + round(BACKOFF.high_s * 1000) if now_ms else _NEVER_MS, _BATCH),
        ).fetchall()
        for seq, tries, key, body in due:
            text = self._pool.submit(partial(self._fetch, key, ExecutionRow.FromString(body)))
            self._under_way.append(_Wanted(seq, key, tries, text))
        return _POLL_S if due else idle_s

    def _take(self, wanted: _Wanted) -> None:
        text = wanted.text.result()
        if text is not None:
            self._index.set_output(wanted.seq, wanted.key, text)
        elif wanted.tries + 1 >= MAX_TRIES:
            self._index.give_up_output(wanted.seq)
            _log.warning("an output is not in the history index: no node has it", execution=ids.to_text(wanted.key))
        else:
            wait_s = BACKOFF.ceiling_s(wanted.tries + 1)
            self._index.sql.execute(
                "UPDATE wanted_outputs SET tries = tries + 1, due_ms = ? WHERE seq = ?",
                (self._now_ms() + round(wait_s * 1000), wanted.seq),
            )

    def _now_ms(self) -> int:
        return self._now_us() // 1000
