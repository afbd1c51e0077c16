"""What leaders assign to an executor and take from it, judged by what the journal says."""

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.executor.actions import noop
from raftsched.executor.armed import TURN_ITEMS, Armed
from raftsched.executor.attempt_journal import AssignmentVerdict, AttemptJournal
from raftsched.executor.keys import AttemptKey, describe
from raftsched.executor.leader_time import LeaderTime
from raftsched.executor.outbox import Outbox
from raftsched.executor.pool import Attempt
from raftsched.executor.runs import Runs
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import Clock

_log = structlog.get_logger(__name__)


class Inbox:
    """Accepts assignments once, and has them run; ends what leaders take back."""

    # What holds whenever the event loop takes a turn:
    #
    # 1. An attempt runs once here, however often it is assigned: only what the journal judges NEW is run, and it is
    #    accepted in the same turn.
    # 2. Of an execution, only an attempt later than all that were seen is run, and only with a higher fencing token.
    #    The older one is killed as the later is accepted, and is gone before the later starts.
    # 3. What was accepted is committed before it starts, or is told: a turn ends with a flush, then starts.
    # 4. Nothing is accepted while `max_held` attempts are held, or ends of `max_held_bytes`. More are held only where
    #    a start with a lower bound found them in the journal, and by the ends of what was accepted before.
    # 5. `left_out` is set when an assignment met that bound since a leader was last connected. A leader gives what is
    #    assigned and not held when the executor connects: so whoever sees `wants_left_out` connects anew.
    # 6. What is to start later is in `armed`, and was not judged yet: it is as it starts.
    # 7. `term` never falls: whoever talks to a leader refuses one of a lower term, which knows less than was seen here.

    def __init__(
        self,
        journal: AttemptJournal,
        runs: Runs,
        outbox: Outbox,
        time: LeaderTime,
        clock: Clock,
        settings: ExecutorSettings,
    ) -> None:
        limits = settings.max_armed, settings.max_armed_bytes
        self.armed = Armed(time, clock, limits, self._begin, outbox.give_back)
        """What waits for its time."""
        runs.on_room = self.armed.look
        self._journal = journal
        self._runs = runs
        self._outbox = outbox
        self._time = time
        self._settings = settings
        self.term = 0
        """The highest term that a leader has welcomed this executor in."""
        self.left_out = False
        """Whether assignments were left out because as many were held as may be, since a leader was last connected."""

    @property
    def wants_left_out(self) -> bool:
        """Whether there is room again for assignments that were left out."""
        half_bytes = self._settings.max_held_bytes // 2
        is_half_empty = len(self._journal.held) <= self._settings.max_held // 2
        return self.left_out and is_half_empty and self._journal.report_bytes <= half_bytes

    def connected(self, term: int, revoked: Iterable[AttemptKey]) -> None:
        """A leader took this executor in: drop what is no longer ours, and tell again what it may not know."""
        self.term = term
        self.left_out = False
        for key in revoked:
            if self.armed.take_out(key) is not None:
                continue
            # What has ended is told all the same, for the record.
            self._runs.forsake(key)
        self._outbox.begin_again(self._runs.long)

    async def take(self, items: Sequence[pb.Assignment]) -> None:
        """Accept assignments, durably, and start them; what is beyond the bound is left out. Raises StoreFailed."""
        for start in range(0, len(items), TURN_ITEMS):
            if start:
                await asyncio.sleep(0)
            some = items[start : start + TURN_ITEMS]
            now = [item for item in some if not item.start_us]
            self._arm(item for item in some if item.start_us)
            if now:
                for item in now:
                    self.armed.take_out((item.key.execution_id, item.key.attempt))
                self._take_some(now)

    def _arm(self, items: Iterable[pb.Assignment]) -> None:
        self._outbox.give_back([item for item in items if not self.armed.add(item)])
        self.armed.look()

    def _begin(self, items: Iterable[pb.Assignment]) -> list[pb.Assignment]:
        """Start of those whose time has come what there is room for, up to a turn of them; returns these."""
        room, most = self._runs.room(), min(TURN_ITEMS, self._may_accept())
        some: list[pb.Assignment] = []
        more_starts = False
        for item in items:
            if len(some) >= most:
                more_starts = most == TURN_ITEMS
                break
            lane = self._runs.lane_of(item)
            if lane and not room[lane]:
                continue
            if lane:
                room[lane] -= 1
            some.append(item)
        if some:
            self._take_some(some, more_starts=more_starts)
        return some

    def _may_accept(self) -> int:
        """How many more attempts may be accepted."""
        if self._journal.report_bytes >= self._settings.max_held_bytes:
            return 0
        return max(0, self._settings.max_held - len(self._journal.held))

    def _take_some(self, items: Sequence[pb.Assignment], *, more_starts: bool = False) -> None:
        now_us = self._time.now_us()
        result = AttemptResult(start_us=now_us, end_us=now_us)
        noop_end = pb.AttemptReport(state=noop.run().state, result=result).SerializeToString()
        to_run: list[Attempt] = []
        synced = False
        room = self._may_accept()
        for item in items:
            key = (item.key.execution_id, item.key.attempt)
            verdict = self._journal.judge(key, item.fencing_token)
            if verdict is not AssignmentVerdict.NEW:
                self._refuse(key, verdict)
                continue
            if not room:
                self.left_out = True
                break
            room -= 1
            if (attempt := self._accept(key, item, noop_end)) is not None:
                to_run.append(attempt)
                synced = synced or item.at_most_once
        self._outbox.flush(more_starts=more_starts)
        self._runs.start(to_run, synced=synced)

    def _accept(self, key: AttemptKey, item: pb.Assignment, noop_end: bytes) -> Attempt | None:
        """Hold an attempt; None: it has ended already, for there is nothing to run."""
        older = self._runs.find((key[0], self._journal.newest_attempt(key[0])))
        self._journal.accept(key, item.fencing_token)
        if older is not None:
            self._runs.forsake(older.key)
        if item.action.HasField("noop"):
            # It ends as it is accepted: no slot, no task, one commit.
            self._outbox.spool(key, noop_end, unhurried=item.unhurried)
            return None
        return self._runs.add(item, older)

    def _refuse(self, key: AttemptKey, verdict: AssignmentVerdict) -> None:
        if verdict is AssignmentVerdict.STALE:
            _log.warning("assignment refused: a later one was seen", attempt=describe(key))
        elif (held := self._journal.held.get(key)) is not None and held.report is not None:
            self._outbox.repeat(key)

    def acknowledged(self, keys: Iterable[AttemptKey]) -> None:
        """These ends are in the log, or will never be wanted: kill what of these still runs, and forget the others."""
        self._outbox.acknowledged([key for key in keys if not self._runs.forsake(key)])

    def cancel(self, keys: Iterable[AttemptKey]) -> None:
        """End these as CANCELLED; one that is over is reported as it ended, and one that is armed is given back."""
        for key in keys:
            if (item := self.armed.take_out(key)) is not None:
                self._outbox.give_back([item])
            else:
                self._runs.cancel(key)

    def withdraw(self, items: Iterable[pb.Withdraw.Item]) -> None:
        """Give these back, if they have not started; tell how far those are that have."""
        for item in items:
            key = (item.key.execution_id, item.key.attempt)
            held = self._journal.held.get(key)
            if held is not None and held.report is not None:
                self._outbox.repeat(key)
            elif self._runs.take_out(key) or (held is None and self._journal.newest_attempt(key[0]) < key[1]):
                self.armed.take_out(key)
                self._outbox.give_back([pb.Assignment(key=item.key, fencing_token=item.fencing_token)])
            elif (attempt := self._runs.find(key)) is not None:
                self._outbox.tell_long(attempt)
        # What was given back is so on the disk before it is told.
        self._outbox.flush()
