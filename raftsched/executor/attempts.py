"""What an executor does with the attempts it is given, whether a leader is connected or not."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

import structlog

from raftsched.core.model import ExecutionState
from raftsched.executor.actions import noop
from raftsched.executor.actions.base import AttemptContext, Result, StopSignal
from raftsched.executor.actions.registry import EXTENSION
from raftsched.executor.journal import Journal, Verdict
from raftsched.executor.keys import AttemptKey, describe
from raftsched.executor.machine import Machine
from raftsched.executor.output import Outputs
from raftsched.executor.pool import Attempt, Pool, RunnerSource
from raftsched.executor.secrets import Secrets
from raftsched.executor.settings import ExecutorSettings
from raftsched.internal.v1 import executor_pb2 as pb
from raftsched.ports import Clock
from raftsched.store.outputs import OutputFiles

_ERROR_CHARACTERS = 1_000
_TURN_ITEMS = 250
"""Assignments that are taken before other work of the event loop gets its turn."""
_HOUSEKEEPING_S = 1.0
_MAX_COPIED = 10_000
_RESTARTED = "the executor restarted while it ran"
_DROPPED = "this executor was told to drop it"
_STOPPED = "the executor was stopped while it ran"
_CANCELLED = "cancelled"
_GONE = "the task was deleted before the attempt started"
_NOTHING = "nothing"

_log = structlog.get_logger(__name__)


class Attempts:
    """Accepts assignments once, runs them, and keeps their reports until they are acknowledged.

    What was accepted is in the journal before it runs; how it ended is in the journal before it is reported.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        clock: Clock,
        runners: RunnerSource,
        wake: Callable[[], None],
        machine: Machine,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wake = wake
        self._journal = Journal(
            settings.data_dir,
            settings.name,
            clock,
            settings.remembered,
            settings.journal_rewrite_bytes,
            machine.open_file,
        )
        self._end_leftovers = machine.end_leftovers
        self._runners = runners
        self._pool = Pool(settings, runners, self, clock, Secrets(settings.secrets_dir))
        self.files = OutputFiles(
            settings.data_dir / "outputs",
            keep_s=settings.output_keep_s,
            max_bytes=settings.output_max_bytes,
            now_us=clock.now_us,
        )
        """Outputs that are longer than what the log holds."""
        self._outputs = Outputs(settings.kept_output_bytes, self.files, settings.output_limit_bytes)
        self.on_stored: Callable[[AttemptKey, bytes], None] = lambda _key, _sha256: None
        """Told of each output that is stored, with its digest."""
        self._copied: deque[pb.OutputCopied] = deque(maxlen=_MAX_COPIED)
        """To be told to the leader. One that gets lost is found all the same, by asking all nodes."""
        self._ended: list[AttemptKey] = []
        self._ended_event = asyncio.Event()
        self._ends: deque[AttemptKey] = deque()
        """Ends that are in the journal and wait to be sent."""
        self._long: deque[AttemptKey] = deque()
        """Attempts to be reported as running."""
        self._awaiting: deque[tuple[float, AttemptKey]] = deque()
        """When ends were last sent, until they are acknowledged."""
        self._unsynced: list[Attempt] = []
        """Added to the pool, and to be started when the journal is on the disk."""
        self._unsynced_event = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while nothing waits or runs."""
        self.settled = asyncio.Event()
        """Set while nothing is held."""
        self._before = [key for key, held in self._journal.held.items() if held.report is None]
        """Accepted by the process before this one, and not ended."""
        self._wanted_again: dict[AttemptKey, int] = {}
        """Fencing tokens of attempts that were assigned again while they were being killed."""
        self.term = 0
        """The highest term that a leader has welcomed this executor in."""
        self.left_out = False
        """Whether assignments were left out because as many were held as may be, since a leader was last connected."""
        self._tell()

    @property
    def executor_id(self) -> str:
        """Kept in the data directory."""
        return self._journal.executor_id

    @property
    def held(self) -> Collection[AttemptKey]:
        """All that was accepted and not acknowledged."""
        return self._journal.held

    @property
    def wants_left_out(self) -> bool:
        """Whether there is room again for assignments that were left out."""
        return self.left_out and len(self._journal.held) <= self._settings.max_held // 2

    @property
    def slots_used(self) -> int:
        """Slots that are occupied."""
        return self._pool.slots_used

    # Work of this object alone.

    async def keep_house(self) -> None:
        """Write the journal anew whenever it has grown. Ends only by cancellation or StoreFailed."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self.files.sweep()
            if self._journal.rewrite_due:
                await self._journal.rewrite()

    async def bury(self) -> None:
        """End what the process before this one left running, and report it as lost."""
        if not self._before:
            return
        _log.warning("attempts lost by a restart", count=len(self._before))
        await self._end_leftovers(self.executor_id, self._before, self._settings.kill_grace_s)
        report = pb.AttemptReport(state=ExecutionState.LOST, end_us=self._clock.now_us(), error=_RESTARTED)
        for key in self._before:
            # A leader may have taken it back meanwhile.
            if key in self._journal.held:
                self._journal.end(key, report.SerializeToString())
                self._ended.append(key)
        self._before = []
        self._ended_event.set()

    async def sync_starts(self) -> None:
        """Start at-most-once attempts when not even a power failure can make this executor forget that it did.

        Ends only by cancellation or StoreFailed.
        """
        while True:
            await self._unsynced_event.wait()
            self._unsynced_event.clear()
            ready, self._unsynced = self._unsynced, []
            await asyncio.to_thread(self._journal.sync)
            self._start(ready)

    async def flush_ends(self) -> None:
        """Bring ends into the journal, and then on their way. Ends only by cancellation or StoreFailed."""
        while True:
            await self._ended_event.wait()
            if len(self._ended) < self._settings.report_batch_items:
                await asyncio.sleep(self._settings.gather_s)
            self._flush()

    def _flush(self) -> None:
        self._ended_event.clear()
        self._journal.commit()
        self._ends.extend(self._ended)
        self._ended.clear()
        self._tell()
        self._wake()

    def _tell(self) -> None:
        for event, is_so in (
            (self.idle, not self._pool.attempts and not self._before),
            (self.settled, not self._journal.held),
        ):
            if is_so:
                event.set()
            else:
                event.clear()

    async def stop(self) -> None:
        """Kill what runs. It is recorded as lost."""
        await self._pool.stop_all(_STOPPED)
        self._flush()

    def close(self) -> None:
        """Release the data directory."""
        self._journal.close()

    # What the leader asks for.

    def connected(self, term: int, revoked: Iterable[AttemptKey]) -> None:
        """A leader took this executor in: drop what is no longer ours, and send again what it may not know."""
        self.term = term
        self.left_out = False
        self.drop(revoked)
        self._flush()
        self._awaiting.clear()
        self._ends = deque(key for key, held in self._journal.held.items() if held.report is not None)
        self._long = deque(key for key, attempt in self._pool.attempts.items() if attempt.long)

    async def take(self, items: Sequence[pb.Assignment]) -> None:
        """Accept assignments, durably, and start them; what is beyond the bound is left out. Raises StoreFailed."""
        for start in range(0, len(items), _TURN_ITEMS):
            if start:
                await asyncio.sleep(0)
            self._take_some(items[start : start + _TURN_ITEMS])

    def _take_some(self, items: Sequence[pb.Assignment]) -> None:
        journal = self._journal
        room = self._settings.max_held - len(journal.held)
        to_run: list[Attempt] = []
        sync = False
        now_us = self._clock.now_us()
        report = pb.AttemptReport(state=noop.run().state, start_us=now_us, end_us=now_us).SerializeToString()
        for item in items:
            key = (item.key.execution_id, item.key.attempt)
            verdict = journal.judge(key, item.fencing_token)
            if verdict is not Verdict.NEW:
                self._refuse(key, verdict, item.fencing_token)
                continue
            if not room:
                self.left_out = True
                break
            room -= 1
            older = self._pool.attempts.get((key[0], journal.newest_attempt(key[0])))
            journal.accept(key, item.fencing_token)
            if older is not None:
                self._pool.forsake(older)
            if item.action.HasField("noop"):
                # It ends as it is accepted: no slot, no task, one commit.
                journal.end(key, report)
                self._ended.append(key)
            else:
                attempt = self._attempt(item, older)
                self._pool.add(attempt)
                to_run.append(attempt)
                sync = sync or item.at_most_once
        self._flush()
        if sync:
            self._unsynced.extend(to_run)
            self._unsynced_event.set()
        else:
            self._start(to_run)

    def _refuse(self, key: AttemptKey, verdict: Verdict, fencing_token: int) -> None:
        held = self._journal.held.get(key)
        if verdict is Verdict.STALE:
            _log.warning("assignment refused: a later one was seen", attempt=describe(key))
        elif held is None and not self._journal.is_acknowledged(key[0]):
            self._give_back(key, fencing_token)
        elif held is not None and held.report is not None:
            self._ends.append(key)
        elif (attempt := self._pool.attempts.get(key)) is not None and attempt.forsaken:
            self._wanted_again[key] = fencing_token

    def _give_back(self, key: AttemptKey, fencing_token: int) -> None:
        """Report as lost what was dropped here and is still assigned to us.

        A leader that did not know of its deposition may have revoked it. Where its end is in the log all the same, the
        report changes nothing.
        """
        report = pb.AttemptReport(state=ExecutionState.LOST, end_us=self._clock.now_us(), error=_DROPPED)
        self._journal.accept(key, fencing_token)
        self._journal.end(key, report.SerializeToString())
        self._ended.append(key)

    def _attempt(self, item: pb.Assignment, older: Attempt | None) -> Attempt:
        key = (item.key.execution_id, item.key.attempt)
        context = AttemptContext(
            executor_id=self.executor_id,
            task=item.task,
            execution_id=key[0],
            nominal_us=item.nominal_us,
            attempt=key[1],
            fencing_token=item.fencing_token,
            parent_execution_ids=tuple(item.parent_execution_ids),
            stop=StopSignal(asyncio.get_running_loop()),
            output=self._outputs.open(key),
            time_limit_us=item.time_limit_us,
        )
        kind = (item.action.WhichOneof("kind") or "") if item.HasField("action") else _NOTHING
        if kind == EXTENSION:
            kind = item.action.extension.kind
        return Attempt(key, kind, item.action, item.time_limit_us, context, after=older)

    def _start(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            if attempt.context.stop.requested.done():
                # It was ended while the journal was brought to the disk.
                continue
            if attempt.kind == _NOTHING:
                self._pool.stop(attempt, ExecutionState.CANCELLED, _GONE)
            elif self._runners.get(attempt.kind) is not None:
                self._pool.start(attempt)
            else:
                self._pool.stop(attempt, ExecutionState.FAILED, self._runners.why_not(attempt.kind))

    def acknowledged(self, keys: Iterable[AttemptKey]) -> None:
        """These ends are in the log, or will never be wanted."""
        self.drop(keys, acknowledged=True)
        self._journal.commit()
        self._tell()

    def drop(self, keys: Iterable[AttemptKey], *, acknowledged: bool = False) -> None:
        """Kill what of these still runs, and forget them."""
        for key in keys:
            attempt = self._pool.attempts.get(key)
            if attempt is not None:
                self._pool.forsake(attempt)
            else:
                self._journal.forget(key, acknowledged=acknowledged)

    def cancel(self, keys: Iterable[AttemptKey]) -> None:
        """End these as CANCELLED; one that is over is reported as it ended."""
        for key in keys:
            attempt = self._pool.attempts.get(key)
            if attempt is not None:
                self._pool.stop(attempt, ExecutionState.CANCELLED, _CANCELLED)

    # What the leader is told.

    def next_reports(self) -> pb.Reports | None:
        """The next message of reports, or None when there is nothing to report. They are sent again if need be."""
        reports = pb.Reports()
        now = self._clock.monotonic()
        room_items, room_bytes = self._settings.report_batch_items, self._settings.report_batch_bytes
        while self._ends and room_items > 0 and room_bytes > 0:
            key = self._ends.popleft()
            held = self._journal.held.get(key)
            if held is None or held.report is None:
                continue
            item = reports.items.add()
            item.ParseFromString(held.report)
            item.key.execution_id, item.key.attempt = key
            room_items -= 1
            room_bytes -= len(held.report)
            self._awaiting.append((now, key))
        while self._long and room_items > 0:
            attempt = self._pool.attempts.get(self._long.popleft())
            if attempt is not None and not attempt.forsaken:
                item = reports.items.add(state=ExecutionState.RUNNING, start_us=attempt.start_us)
                item.key.execution_id, item.key.attempt = attempt.key
                room_items -= 1
        return reports if reports.items else None

    def resend(self, after_s: float) -> None:
        """Send again the ends that were sent longer ago and are not acknowledged."""
        due = self._clock.monotonic() - after_s
        while self._awaiting and self._awaiting[0][0] <= due:
            _, key = self._awaiting.popleft()
            if key in self._journal.held:
                self._ends.append(key)

    def copied(self, key: AttemptKey, node_id: str) -> None:
        """A node has taken the second copy of a stored output."""
        self._copied.append(pb.OutputCopied(key=pb.AttemptKey(execution_id=key[0], attempt=key[1]), node_id=node_id))
        self._wake()

    def next_copied(self) -> pb.OutputCopied | None:
        """What the leader is to be told next of second copies."""
        return self._copied.popleft() if self._copied else None

    async def output(self, wanted: pb.FetchOutput) -> pb.Output:
        """Some of what is kept of an attempt's output, from an offset on."""
        key = (wanted.key.execution_id, wanted.key.attempt)
        output = self._outputs.get(key)
        if output is not None:
            offset, data = output.read(wanted.offset)
            return pb.Output(call=wanted.call, found=True, offset=offset, data=data, ended=output.ended)
        stored = await asyncio.to_thread(self._outputs.read_stored, key, wanted.offset, wanted.sha256)
        if stored is None:
            return pb.Output(call=wanted.call, found=False)
        return pb.Output(call=wanted.call, found=True, offset=stored[0], data=stored[1], ended=True)

    # What the pool says.

    def on_long(self, attempt: Attempt) -> None:
        """Report it as running."""
        self._long.append(attempt.key)
        self._wake()

    def on_end(self, attempt: Attempt, result: Result) -> None:
        """Spool its report, unless nobody wants it."""
        output = attempt.context.output
        # What its redactor holds back is written as it closes.
        self._outputs.close(attempt.key)
        if attempt.forsaken:
            self._outputs.forget(attempt.key)
            self._journal.forget(attempt.key)
            token = self._wanted_again.pop(attempt.key, None)
            if token is not None:
                self._give_back(attempt.key, token)
        else:
            report = pb.AttemptReport(
                state=result.state,
                start_us=attempt.start_us,
                end_us=self._clock.now_us(),
                error=result.error[:_ERROR_CHARACTERS].encode("utf-8", "replace").decode(),
                output_tail=output.tail(),
                output_size_bytes=output.size_bytes,
                output_sha256=output.sha256,
                output_stored_bytes=output.stored_bytes,
            )
            if result.exit_code is not None:
                report.exit_code = result.exit_code
            if result.http_status is not None:
                report.http_status = result.http_status
            self._journal.end(attempt.key, report.SerializeToString())
            self._ended.append(attempt.key)
            if output.sha256:
                self.on_stored(attempt.key, output.sha256)
        self._ended_event.set()
