"""The node's end of the pipe to the process that keeps its history index."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import structlog

from raftsched.core.backoff import Backoff, Retries
from raftsched.history.frames import Word, entry_frame, frame, index_frame, others_frame, time_frame
from raftsched.history.settings import HistorySettings
from raftsched.ports import Clock, MemberList

MAX_WAITING_BYTES = 16 << 20
"""What may wait in the pipe: changes of about a million rows. Beyond it, the index catches up with the whole state."""
_BEAT_S = 1.0
_STOP_S = 3.0
_LINE_BYTES = 1 << 20
_RESTART = Backoff(low_s=1.0, high_s=60.0)
_COMMAND = (sys.executable, "-m", "raftsched.history.indexer")
_log = structlog.get_logger(__name__)


class ChangesOfEntry(Protocol):
    """Keys of the rows that one log entry changed: see ``replica.EntryChanges``."""

    @property
    def index(self) -> int:
        """The log index of the entry."""

    @property
    def executions(self) -> list[bytes]:
        """Ids."""

    @property
    def tasks(self) -> list[str]:
        """Names."""

    @property
    def ledger(self) -> list[bytes]:
        """Keys."""


class HistoryProcess:
    """Runs the process, and tells it what the replica says. Never waits for it: what it cannot take becomes a gap."""

    def __init__(
        self,
        settings: HistorySettings,
        applied_index: int,
        leads: Callable[[], bool],
        advance: Callable[[str, int], None],
        now_us: Callable[[], int],
        clock: Clock,
        members: MemberList,
        *,
        restart: Backoff = _RESTART,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        """``applied_index``: how far the state tables are; every change after it will be told.

        ``advance`` moves the replicated cursor of a sink, or fails to: it is asked again. ``now_us`` gives the time of
        the cluster in microseconds since the Unix epoch, 0 while it is not known. ``restart``: the pauses before
        a process that ended is followed by another, made by ``command``.
        """
        self._advance = advance
        self.sinks: list[dict[str, Any]] = []
        """How each sink does: see ``shipping.ShippingState``."""
        self._settings = settings
        self._index = applied_index
        """Every change up to this log index has been told."""
        self._leads = leads
        self._now_us = now_us
        self._members = members
        members.subscribe(self._tell_others)
        self._retries = Retries(restart, clock)
        self._command = command
        self._input: asyncio.StreamWriter | None = None
        self._start_index = applied_index
        self._early = bytearray()
        """Changes after ``_start_index``, told while no process runs."""
        self._gap = False
        self._said: tuple[int, bool] | None = None
        self.problem = ""
        """Why the index does not go on; "" while it does."""

    def changed(self, entries: Iterable[ChangesOfEntry], index: int) -> None:
        """See ``replica.Follower``."""
        self._index = index
        if self._gap:
            return
        told = b"".join(entry_frame(each.index, each.executions, each.tasks, each.ledger) for each in entries)
        if self._waiting_bytes() + len(told) > MAX_WAITING_BYTES:
            self._gap = True
            self._early.clear()
        else:
            self._write(told)

    def replaced(self) -> None:
        """See ``replica.Follower``."""
        self._gap = True

    async def run(self) -> None:
        """Keep the process running until cancelled; then let it finish what it was told."""
        while True:
            self.problem = f"the process of the history index {await self._run_once()}"
            wait_s = self._retries.failed()
            _log.warning("the history index does not go on", problem=self.problem, starts_again_in_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> str:
        """Run a process until it ends; what became of it."""
        try:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, limit=_LINE_BYTES)
        except OSError as error:
            # No memory or no processes left: that passes, and the node does its work without the index.
            return f"cannot be started: {error}"
        self._retries.began()
        try:
            return f"ended with code {await self._serve(process)}; the log of the node says why"
        except asyncio.CancelledError:
            await _end(process)
            raise

    async def _serve(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdin is not None
        self._input, self._said = process.stdin, None
        self._write(frame(Word.SETTINGS, json.dumps(self._settings.to_json()).encode()))
        self._tell_others()
        self._write(index_frame(Word.START, self._start_index) + self._early)
        self._early.clear()
        ended = asyncio.ensure_future(process.wait())
        hearing = asyncio.ensure_future(self._hear(process.stdout))
        try:
            while not ended.done():
                self._beat()
                await asyncio.wait((ended,), timeout=_BEAT_S)
                self.problem = ""
            return ended.result()
        finally:
            ended.cancel()
            hearing.cancel()
            self._beat()
            # What is told from now on is for the next process, which goes on from the cursor of this one.
            self._input, self._start_index = None, self._index

    async def _hear(self, lines: asyncio.StreamReader | None) -> None:
        """What the process says: progress and state of the sinks, and lines for the standard output of the node."""
        assert lines is not None
        while line := await lines.readline():
            said = json.loads(line)
            if "print" in said:
                await asyncio.to_thread(print, said["print"], flush=True)
            elif "sinks" in said:
                self.sinks = said["sinks"]
            elif self._leads():
                self._advance(said["sink"], said["index"])

    def _tell_others(self) -> None:
        """A process that runs; one that begins is told then."""
        if self._input is not None:
            self._write(others_frame([peer.address for peer in self._members.others(self._settings.node_id)]))

    def _beat(self) -> None:
        """Say how far the state is, so that a restart after a quiet time finds no gap."""
        if self._gap:
            if self._waiting_bytes():
                return
            self._gap = False
            self._write(frame(Word.GAP, b""))
        said = (self._index, self._leads())
        if said != self._said:
            self._said = said
            time = time_frame(self._now_us()) if self._now_us() else b""
            self._write(index_frame(Word.REACHED, said[0]) + frame(Word.LEADS, b"%d" % said[1]) + time)

    def _waiting_bytes(self) -> int:
        return len(self._early) if self._input is None else self._input.transport.get_write_buffer_size()

    def _write(self, data: bytes) -> None:
        if self._input is None:
            self._early += data
        # The process may have ended: its exit is noticed elsewhere.
        elif not self._input.transport.is_closing():
            self._input.write(data)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input and wait; kill it when it takes too long, which it takes as well as a crash."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
