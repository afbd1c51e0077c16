"""What an executor has to tell a leader, until it need not be told any more."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from raftsched_proto.internal.v1 import executor_pb2 as pb

from raftsched.core.state.model import SECOND_US, ExecutionState
from raftsched.executor.attempt_journal import AttemptJournal
from raftsched.executor.keys import AttemptKey
from raftsched.executor.leader_time import LeaderTime
from raftsched.executor.output import Outputs
from raftsched.executor.pool import Attempt
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import Clock

_MAX_COPIED = 10_000
_LONGEST_GATHERING_S = 2.0
"""How long ends that nobody waits for may be gathered while more is starting."""


class Outbox:
    """Reports of attempts, news of second copies, and what is read of outputs.

    Ends are kept until they are acknowledged, across restarts, and told again to each leader that is connected to.
    """

    # What holds whenever the event loop takes a turn:
    #
    # 1. The report of an attempt that is held does not change. An attempt ends once, and `spool` refuses a second end.
    # 2. What is sent is in the journal. A report that may not be is named by `_spooled`, which nothing is sent from;
    #    `flush` commits before it moves the names on. `repeat` names a report before its commit only within a turn
    #    that ends with `flush`.
    # 3. While a leader is connected no end is forgotten: one that is held is named by `_spooled`, `_unhurried`,
    #    `_ready` or `_awaiting`. `flush` and `next_reports` hand names on from one to the next, `resend` hands them
    #    back, and `begin_again` names all that are held, for a new leader knows of none that were sent. What
    #    `_unhurried` names goes with whatever is sent first, and a timer sends it if nothing is.
    # 4. `_awaiting` is in the order of sending, for it only grows at its end, by a clock that does not go back. So
    #    `resend` looks no further than the first that was sent lately.
    # 5. A name may stand in these for an end that is no longer held, or twice. Whoever takes it asks the journal, and
    #    an end that is told again changes nothing. So whatever forgets an attempt need not search them.
    # 6. `settled` says whether nothing is held: whatever changes that is followed by `flush` or `acknowledged`.

    def __init__(
        self,
        settings: ExecutorSettings,
        clock: Clock,
        time: LeaderTime,
        journal: AttemptJournal,
        outputs: Outputs,
        wake: Callable[[], None],
    ) -> None:
        """``wake`` is called when there is something to send."""
        self._settings = settings
        self._clock = clock
        self._time = time
        self._journal = journal
        self._outputs = outputs
        self._wake = wake
        self._spooled: list[AttemptKey] = []
        self._unhurried_spooled: list[AttemptKey] = []
        self._unhurried: deque[AttemptKey] = deque()
        """Ends that nobody waits for: they are told together."""
        self._timer: asyncio.TimerHandle | None = None
        self._more_starts, self._gathered_since_s = False, 0.0
        self._is_hurried = False
        """Whether somebody waits for something of what is ready."""
        self._flush_due = asyncio.Event()
        self._ready: deque[AttemptKey] = deque()
        self._awaiting: deque[tuple[float, AttemptKey]] = deque()
        """When they were sent, and which."""
        self._long: deque[Attempt] = deque()
        """To be reported as running."""
        self._given_back: deque[pb.AttemptReport] = deque()
        """Assignments that were armed. A leader learns from the next hello, too, that they are not any more."""
        self._gave_back = False
        self._copied: deque[pb.OutputCopied] = deque(maxlen=_MAX_COPIED)
        """One that gets lost is found all the same, by asking all nodes."""
        self.settled = asyncio.Event()
        """Set while nothing is held."""
        self._settle()

    # Filling it.

    def spool(self, key: AttemptKey, report: bytes, *, unhurried: bool = False) -> None:
        """Keep the serialized report of the end of an attempt that is held. A flush is to follow, now or soon.

        ``unhurried``: it may be told a moment later, together with others.
        """
        assert self._journal.held[key].report is None, "an attempt ended twice"
        self._journal.end(key, report)
        (self._unhurried_spooled if unhurried else self._spooled).append(key)

    def flush_soon(self) -> None:
        """Have ``keep_flushed`` commit what was spooled, together with what is spooled in the next moment."""
        self._flush_due.set()

    def flush(self, *, more_starts: bool = False) -> None:
        """Commit the journal, and let what was spooled go on its way. Raises StoreFailed.

        ``more_starts``: attempts that are due are to start next. What nobody waits for follows behind them, for the
        processors that would take it into the log are those that start them; but after 2 s at the latest.
        """
        self._flush_due.clear()
        self._journal.commit()
        self._ready.extend(self._spooled)
        self._is_hurried = self._is_hurried or bool(self._spooled)
        self._spooled.clear()
        if not self._unhurried:
            self._gathered_since_s = self._clock.monotonic()
        self._unhurried.extend(self._unhurried_spooled)
        self._unhurried_spooled.clear()
        self._more_starts = more_starts
        self._settle()
        if len(self._unhurried) >= self._settings.report_batch_items and not self._waits_for_starts():
            self._let_go()
        elif self._unhurried and self._timer is None:
            self._gather()
        if self._ready:
            self._wake()

    def _waits_for_starts(self) -> bool:
        return self._more_starts and self._clock.monotonic() < self._gathered_since_s + _LONGEST_GATHERING_S

    def _gather(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._gathering_s(), self._end_gathering)

    def _end_gathering(self) -> None:
        if self._waits_for_starts():
            self._gather()
        else:
            self._let_go()

    def _gathering_s(self) -> float:
        """Until the next time that all executors let go what they have gathered, so that one log entry may hold it."""
        period_us = max(1, round(self._settings.gather_unhurried_s * SECOND_US))
        return (period_us - self._time.now_us() % period_us) / SECOND_US

    def _let_go(self) -> None:
        """Let what nobody waits for go on its way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ready.extend(self._unhurried)
        self._unhurried.clear()
        self._wake()

    async def keep_flushed(self) -> None:
        """Flush whenever it was asked for. Ends only by cancellation or StoreFailed."""
        while True:
            await self._flush_due.wait()
            if len(self._spooled) + len(self._unhurried_spooled) < self._settings.report_batch_items:
                await asyncio.sleep(self._settings.gather_s)
            self.flush()

    def repeat(self, key: AttemptKey) -> None:
        """Tell the end of an attempt again. ``flush`` is to follow."""
        assert self._journal.held[key].report is not None, "the attempt has not ended"
        self._ready.append(key)
        self._is_hurried = True

    def tell_long(self, attempt: Attempt) -> None:
        """Tell that an attempt is running."""
        self._long.append(attempt)
        self._is_hurried = True
        self._wake()

    def give_back(self, items: Iterable[pb.Assignment]) -> None:
        """Tell that these were armed, have not started, and will not be started."""
        for item in items:
            report = pb.AttemptReport(key=item.key, state=ExecutionState.PENDING, fencing_token=item.fencing_token)
            self._given_back.append(report)
        if self._given_back:
            self._is_hurried = self._gave_back = True
            self._wake()

    @property
    def gives_back(self) -> bool:
        """Whether something was given back to the leader that is connected, which may not have read it."""
        return self._gave_back

    def introduce(self) -> None:
        """A hello is about to say what is armed: what was given back before need not be told."""
        self._given_back.clear()
        self._gave_back = False

    def copied(self, key: AttemptKey, node_id: str) -> None:
        """Tell that a node has taken the second copy of a stored output."""
        self._copied.append(pb.OutputCopied(key=pb.AttemptKey(execution_id=key[0], attempt=key[1]), node_id=node_id))
        self._wake()

    # What a leader makes of it.

    def begin_again(self, long: Iterable[Attempt]) -> None:
        """A leader took this executor in: tell all ends that are held, and which attempts have run for long."""
        self.flush()
        self._let_go()
        self._is_hurried = True
        self._awaiting.clear()
        self._ready = deque(key for key, held in self._journal.held.items() if held.report is not None)
        self._long = deque(long)

    def acknowledged(self, keys: Iterable[AttemptKey]) -> None:
        """These ends need not be told any more: forget the attempts. Raises StoreFailed."""
        for key in keys:
            self._journal.forget(key)
        self._journal.commit()
        self._settle()

    def resend(self, after_s: float) -> None:
        """Tell again the ends that were told longer ago and are not acknowledged."""
        due_s = self._clock.monotonic() - after_s
        while self._awaiting and self._awaiting[0][0] <= due_s:
            self._ready.append(self._awaiting.popleft()[1])
            self._is_hurried = True

    # Emptying it.

    def next_reports(self) -> pb.Reports | None:
        """The next message of reports, or None when there is nothing to report."""
        if self._is_hurried and self._unhurried:
            self._let_go()
        reports = pb.Reports(unhurried=not self._is_hurried)
        while self._given_back and len(reports.items) < self._settings.report_batch_items:
            reports.items.append(self._given_back.popleft())
        self._add_ends(reports)
        self._add_long(reports)
        self._is_hurried = self._is_hurried and bool(self._ready or self._long or self._given_back)
        return reports if reports.items else None

    def _add_ends(self, reports: pb.Reports) -> None:
        now_s = self._clock.monotonic()
        assert not self._awaiting or self._awaiting[-1][0] <= now_s, "the clock went back"
        room_items, room_bytes = self._settings.report_batch_items, self._settings.report_batch_bytes
        while self._ready and len(reports.items) < room_items and room_bytes > 0:
            key = self._ready.popleft()
            held = self._journal.held.get(key)
            if held is None or held.report is None:
                continue
            item = reports.items.add()
            item.ParseFromString(held.report)
            item.key.execution_id, item.key.attempt = key
            room_bytes -= len(held.report)
            self._awaiting.append((now_s, key))

    def _add_long(self, reports: pb.Reports) -> None:
        while self._long and len(reports.items) < self._settings.report_batch_items:
            attempt = self._long.popleft()
            held = self._journal.held.get(attempt.key)
            if held is not None and held.report is None and not attempt.forsaken:
                item = reports.items.add(state=ExecutionState.RUNNING)
                item.result.start_us = attempt.start_us
                item.key.execution_id, item.key.attempt = attempt.key

    def next_copied(self) -> pb.OutputCopied | None:
        """What is to be told next of second copies, or None."""
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

    def _settle(self) -> None:
        if self._journal.held:
            self.settled.clear()
        else:
            self.settled.set()
