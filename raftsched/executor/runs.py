"""The attempts that wait or run on an executor, and those that a process before this one left running."""

import asyncio
from collections.abc import Callable, Iterable

import structlog
from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import noop
from raftsched.executor.actions.base import AttemptContext, Result, StopSignal
from raftsched.executor.actions.registry import EXTENSION
from raftsched.executor.attempt_journal import AttemptJournal
from raftsched.executor.keys import AttemptKey
from raftsched.executor.leader_time import LeaderTime
from raftsched.executor.leftovers import EndLeftovers, Marks
from raftsched.executor.outbox import Outbox
from raftsched.executor.output import Outputs
from raftsched.executor.pool import Attempt, Pool, RunnerSource
from raftsched.executor.secrets import Secrets
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import Clock

_ERROR_CHARACTERS = 1_000
_RESTARTED = "the executor restarted while it ran"
_STOPPED = "the executor was stopped while it ran"
_CANCELLED = "cancelled"
_GONE = "the task was deleted before the attempt started"
_NOTHING = "nothing"

_log = structlog.get_logger(__name__)


class Runs:
    """Runs attempts that were accepted, and spools how they end."""

    # What holds whenever the event loop takes a turn:
    #
    # 1. What is held and has not ended is either in the pool or in `_before`, and nothing else is. `add` follows an
    #    acceptance in one turn; the pool lets go of an attempt as it calls `on_end`, which spools the end; `bury`
    #    spools the ends of `_before`, of which a leader may have had some forgotten.
    # 2. What starts is in the journal: `start` follows a flush. What is at most once starts when the journal is on the
    #    disk, too: until then it is in `_unsynced`, and the attempts that came with it are.
    # 3. What is in `_unsynced` has not started; it may have ended, when its stop was requested.
    # 4. An attempt starts when the older one of its execution is gone: the pool sees to it.
    # 5. `idle` says whether nothing waits or runs, in the pool or of `_before`.

    def __init__(
        self,
        settings: ExecutorSettings,
        clock: Clock,
        time: LeaderTime,
        runners: RunnerSource,
        journal: AttemptJournal,
        outputs: Outputs,
        outbox: Outbox,
        end_leftovers: EndLeftovers,
    ) -> None:
        self._time = time
        self._runners = runners
        self._journal = journal
        self._outputs = outputs
        self._outbox = outbox
        self._end_leftovers = end_leftovers
        self._kill_grace_s = settings.kill_grace_s
        self._marks = Marks(journal.executor_id, journal.secret)
        self._pool = Pool(settings, runners, self, clock, time, Secrets(settings.secrets_dir))
        self._unsynced: list[Attempt] = []
        self._sync_due = asyncio.Event()
        self._before = [key for key, held in journal.held.items() if held.report is None]
        """Accepted by the process before this one, and not ended."""
        self.on_stored: Callable[[AttemptKey, bytes], None] = lambda _key, _sha256: None
        """Told of each output that is stored, with its digest."""
        self.on_room: Callable[[], None] = lambda: None
        """Told when a slot may be free."""
        self.idle = asyncio.Event()
        """Set while nothing waits or runs."""
        self._rest()

    @property
    def slots_used(self) -> int:
        """Slots that are occupied."""
        return self._pool.slots_used

    @property
    def long(self) -> list[Attempt]:
        """Those that have been running long enough to be reported as running."""
        return [attempt for attempt in self._pool.attempts.values() if attempt.long]

    def lane_of(self, item: pb.Assignment) -> str:
        """Which slots an assignment would take one of: see ``room``; "" for none."""
        kind = _kind(item)
        return "" if kind in (_NOTHING, noop.KIND) else self._pool.lane_of(kind)

    def room(self) -> dict[str, int]:
        """How many slots are free, of those here and of those for what is done elsewhere."""
        return self._pool.room()

    def find(self, key: AttemptKey) -> Attempt | None:
        """The attempt, if it waits or runs here."""
        return self._pool.attempts.get(key)

    def add(self, item: pb.Assignment, after: Attempt | None) -> Attempt:
        """Know an attempt that was accepted and may not start yet. ``after`` must be gone before it does."""
        key = (item.key.execution_id, item.key.attempt)
        assert self._journal.held[key].report is None, "what has ended does not run"
        attempt = Attempt(
            key, _kind(item), item.action, item.time_limit_us, self._context(key, item), after, item.unhurried
        )
        self._pool.add(attempt)
        self.idle.clear()
        return attempt

    def _context(self, key: AttemptKey, item: pb.Assignment) -> AttemptContext:
        return AttemptContext(
            executor_id=self._journal.executor_id,
            task=item.task,
            execution_id=key[0],
            nominal_us=item.nominal_us,
            attempt=key[1],
            fencing_token=item.fencing_token,
            parent_execution_ids=tuple(item.parent_execution_ids),
            stop=StopSignal(asyncio.get_running_loop()),
            output=self._outputs.open(key),
            time_limit_us=item.time_limit_us,
            marks=self._marks,
        )

    def start(self, attempts: Iterable[Attempt], *, synced: bool) -> None:
        """Start attempts whose acceptance was committed; ``synced``: not before the journal is on the disk."""
        if synced:
            self._unsynced.extend(attempts)
            self._sync_due.set()
        else:
            self._start(attempts)

    async def sync_starts(self) -> None:
        """Start at-most-once attempts when not even a power failure can make this executor forget that it did.

        Ends only by cancellation or StoreFailed.
        """
        while True:
            await self._sync_due.wait()
            self._sync_due.clear()
            ready, self._unsynced = self._unsynced, []
            await asyncio.to_thread(self._journal.sync)
            self._start(ready)

    def _start(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            assert attempt.job is None, "an attempt starts once"
            if attempt.context.stop.requested.done():
                # It was ended while the journal was brought to the disk.
                continue
            if attempt.kind == _NOTHING:
                self._pool.stop(attempt, ExecutionState.CANCELLED, _GONE)
            elif self._runners.get(attempt.kind) is not None:
                self._pool.start(attempt)
            else:
                self._pool.stop(attempt, ExecutionState.FAILED, self._runners.why_not(attempt.kind))

    def cancel(self, key: AttemptKey) -> None:
        """End it as CANCELLED, if it waits or runs."""
        if (attempt := self.find(key)) is not None:
            self._pool.stop(attempt, ExecutionState.CANCELLED, _CANCELLED)

    def forsake(self, key: AttemptKey) -> bool:
        """Kill it: it is no longer ours. False: it neither waits nor runs. Its end is told all the same."""
        if (attempt := self.find(key)) is None:
            return False
        self._pool.forsake(attempt)
        return True

    def take_out(self, key: AttemptKey) -> bool:
        """Let go of it as if it had never been accepted, if it waits here and has not started; whether it did.

        ``Outbox.flush`` is to follow before that is told.
        """
        if (attempt := self.find(key)) is None or not self._pool.take_out(attempt):
            return False
        self._outputs.close(key)
        self._journal.give_back(key)
        self._rest()
        return True

    async def bury(self) -> None:
        """End what the process before this one left running, and spool that it is lost."""
        if not self._before:
            return
        _log.warning("attempts lost by a restart", count=len(self._before))
        await self._end_leftovers(self._marks, self._before, self._kill_grace_s)
        report = pb.AttemptReport(state=ExecutionState.LOST, result=AttemptResult(error=_RESTARTED)).SerializeToString()
        for key in self._before:
            # A leader may have had it forgotten meanwhile.
            if key in self._journal.held:
                self._outbox.spool(key, report)
        self._before = []
        self._outbox.flush_soon()
        self._rest()

    async def stop(self) -> None:
        """Kill what runs. It is recorded as lost."""
        await self._pool.stop_all(_STOPPED)

    # What the pool says.

    def on_long(self, attempt: Attempt) -> None:
        """Report it as running."""
        self._outbox.tell_long(attempt)

    def on_end(self, attempt: Attempt, result: Result) -> None:
        """Spool its report."""
        # What its redactor holds back is written as it closes.
        self._outputs.close(attempt.key)
        report = _report(attempt, result, attempt.end_us or self._time.now_us())
        unhurried = attempt.unhurried and report.state == ExecutionState.SUCCEEDED
        self._outbox.spool(attempt.key, report.SerializeToString(), unhurried=unhurried)
        if sha256 := report.result.output_sha256:
            self.on_stored(attempt.key, sha256)
        self._outbox.flush_soon()
        self._rest()
        self.on_room()

    def _rest(self) -> None:
        if not self._pool.attempts and not self._before:
            self.idle.set()


def _kind(item: pb.Assignment) -> str:
    if not item.HasField("action"):
        return _NOTHING
    kind = item.action.WhichOneof("kind") or ""
    return item.action.extension.kind if kind == EXTENSION else kind


def _report(attempt: Attempt, result: Result, end_us: int) -> pb.AttemptReport:
    output = attempt.context.output
    # What was taken from this executor has another attempt behind it, or would have: it is told for the record.
    taken = attempt.forsaken and result.state == ExecutionState.CANCELLED
    state = ExecutionState.LOST if taken else result.state
    # Whatever a runner says: 0 is the exit code of success.
    has_exit_code = result.exit_code or result.state == ExecutionState.SUCCEEDED
    told = AttemptResult(
        start_us=attempt.start_us,
        end_us=end_us,
        exit_code=result.exit_code if has_exit_code else None,
        http_status=result.http_status,
        error=result.error[:_ERROR_CHARACTERS].encode("utf-8", "replace").decode(),
        output_tail=output.tail(),
        output_size_bytes=output.size_bytes,
        output_sha256=output.sha256,
        output_stored_bytes=output.stored_bytes,
    )
    return pb.AttemptReport(state=state, result=told)
