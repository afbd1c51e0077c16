"""Runs attempts in a bounded number of slots; the others wait in the order of their arrival."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import SECOND_US, ExecutionState
from raftsched.core.times.spans import in_words
from raftsched.executor.actions.base import AttemptContext, Result, Runner
from raftsched.executor.keys import AttemptKey, describe
from raftsched.executor.leader_time import LeaderTime
from raftsched.executor.secrets import SecretRefused, SecretSource, reveal
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import Clock

_HERE, _ELSEWHERE = "here", "elsewhere"
_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt that waits or runs here."""

    key: AttemptKey
    kind: str
    """Name of the field of ``raftsched.v1.Action`` that is set, or the kind of an extension."""
    action: task_pb2.Action
    time_limit_us: int
    context: AttemptContext
    after: "Attempt | None" = None
    """An older attempt of the same execution, which must be gone before this one starts."""
    unhurried: bool = False
    """Nobody waits for its end if it succeeds."""
    forsaken: bool = False
    """It is no longer ours: how it ends is told for the record alone."""
    start_us: int = 0
    """By the leader's time; 0: it has not started."""
    end_us: int = 0
    """The start and what has elapsed since; 0: it has not run."""
    long: bool = False
    """It has been running long enough to be reported as running."""
    job: "asyncio.Task[None] | None" = None


class RunnerSource(Protocol):
    """Where the runners of a pool come from."""

    def get(self, kind: str) -> Runner | None:
        """The runner of that kind, or None."""

    def why_not(self, kind: str) -> str:
        """Why there is none."""


@dataclass(slots=True)
class _SlotLane:
    """So many attempts run at a time; the others wait."""

    slots: int
    used: int = 0
    """By attempts that run, and by what attempts left behind."""
    waiting: deque[Attempt] = field(default_factory=deque)


class PoolListener(Protocol):
    """Who is told what becomes of attempts."""

    def on_long(self, attempt: Attempt) -> None:
        """It has been running for a while."""

    def on_end(self, attempt: Attempt, result: Result) -> None:
        """It is over. Called once for every attempt that was added."""


class Pool:
    """Slots and what runs in them. The queue has no bound of its own: whoever adds bounds what is held."""

    def __init__(
        self,
        settings: ExecutorSettings,
        runners: RunnerSource,
        listener: PoolListener,
        clock: Clock,
        time: LeaderTime,
        secrets: SecretSource,
    ) -> None:
        self._runners = runners
        self._listener = listener
        self._clock = clock
        self._time = time
        self._secrets = secrets
        self._running_report_s = settings.running_report_s
        self._here = _SlotLane(settings.slots)
        self._elsewhere = _SlotLane(settings.remote_slots)
        self.attempts: dict[AttemptKey, Attempt] = {}
        """Those that wait or run. Not to be changed."""

    @property
    def slots_used(self) -> int:
        """By attempts that run, and by what attempts left behind; without those whose work is done elsewhere."""
        return self._here.used

    def lane_of(self, kind: str) -> str:
        """Where an attempt of that kind takes a slot: see ``room``."""
        return _HERE if self._is_here(kind) else _ELSEWHERE

    def room(self) -> dict[str, int]:
        """How many slots are free, here and for what is done elsewhere, when all that waits has one."""
        lanes = ((_HERE, self._here), (_ELSEWHERE, self._elsewhere))
        return {name: max(0, lane.slots - lane.used - len(lane.waiting)) for name, lane in lanes}

    def add(self, attempt: Attempt) -> None:
        """Know an attempt that may not start yet."""
        self.attempts[attempt.key] = attempt

    def start(self, attempt: Attempt) -> None:
        """Run an attempt that was added, unless it was stopped since, as soon as a slot is free."""
        if not attempt.context.stop.requested.done():
            lane = self._lane(attempt)
            lane.waiting.append(attempt)
            self._start_waiting(lane)

    def stop(self, attempt: Attempt, state: ExecutionState, error: str, *, at_once: bool = False) -> None:
        """End it early, in that state; one that waits ends here and now."""
        if at_once:
            attempt.context.stop.force(state, error)
        else:
            attempt.context.stop.request(state, error)
        if attempt.job is None:
            with suppress(ValueError):
                self._lane(attempt).waiting.remove(attempt)
            self._end(attempt, attempt.context.stop.requested.result())

    def forsake(self, attempt: Attempt) -> None:
        """Kill it: it is no longer ours."""
        attempt.forsaken = True
        self.stop(attempt, ExecutionState.CANCELLED, "the attempt was taken from this executor", at_once=True)

    def take_out(self, attempt: Attempt) -> bool:
        """Let go of it without a word, if it has not started; whether it had not."""
        if attempt.job is not None:
            return False
        attempt.context.stop.request(ExecutionState.CANCELLED, "it was given back")
        with suppress(ValueError):
            self._lane(attempt).waiting.remove(attempt)
        del self.attempts[attempt.key]
        return True

    def _lane(self, attempt: Attempt) -> _SlotLane:
        return self._here if self._is_here(attempt.kind) else self._elsewhere

    def _is_here(self, kind: str) -> bool:
        return bool(getattr(self._runners.get(kind), "holds_slot", True))

    async def stop_all(self, error: str) -> None:
        """End all at once, as LOST, and wait until they are over."""
        for attempt in list(self.attempts.values()):
            self.stop(attempt, ExecutionState.LOST, error, at_once=True)
        jobs = [attempt.job for attempt in self.attempts.values() if attempt.job is not None]
        if jobs:
            await asyncio.wait(jobs)

    def _start_waiting(self, lane: _SlotLane) -> None:
        while lane.waiting and lane.used < lane.slots:
            attempt = lane.waiting.popleft()
            lane.used += 1
            attempt.job = asyncio.get_running_loop().create_task(self._run(attempt, lane))

    async def _run(self, attempt: Attempt, lane: _SlotLane) -> None:
        if attempt.after is not None and attempt.after.job is not None:
            await asyncio.wait((attempt.after.job,))
        attempt.after = None
        if attempt.context.stop.requested.done():
            result = attempt.context.stop.requested.result()
        else:
            result = await self._run_timed(attempt)
        if result.busy is None:
            self._free_slot(lane)
        else:
            _log.warning("slot stays occupied", task=attempt.context.task, attempt=describe(attempt.key))
            result.busy.add_done_callback(lambda _: self._free_slot(lane))
        self._end(attempt, result)

    async def _run_timed(self, attempt: Attempt) -> Result:
        loop = asyncio.get_running_loop()
        attempt.start_us, start_s = self._time.now_us(), self._clock.monotonic()
        timers = [loop.call_later(self._running_report_s, self._grow_long, attempt)]
        if attempt.time_limit_us:
            limit_s = attempt.time_limit_us / 1e6
            error = f"the time limit of {in_words(attempt.time_limit_us)} has passed"
            timers.append(loop.call_later(limit_s, attempt.context.stop.request, ExecutionState.TIMED_OUT, error))
        try:
            return await self._run_revealed(attempt)
        except SecretRefused as error:
            return Result(ExecutionState.FAILED, error=f"not started: {error}")
        finally:
            attempt.end_us = attempt.start_us + round((self._clock.monotonic() - start_s) * SECOND_US)
            for timer in timers:
                timer.cancel()

    async def _run_revealed(self, attempt: Attempt) -> Result:
        """Run it with the values of its secrets, which what it shows is kept free of."""
        runner = self._runners.get(attempt.kind)
        assert runner is not None, "an attempt of a kind without a runner is not started"
        action, redactor = await reveal(attempt.action, self._secrets)
        attempt.context.output.redactor = redactor
        try:
            result = await runner.run(action, attempt.context)
        except Exception as error:  # noqa: BLE001 - a defect of one runner must not take the others down
            # A traceback might show a secret.
            _log.error(
                "runner failed",
                task=attempt.context.task,
                attempt=describe(attempt.key),
                error=type(error).__name__,
                exc_info=redactor is None,
            )
            result = Result(ExecutionState.FAILED, error=f"defect of the executor: {type(error).__name__}: {error}")
        return result if redactor is None else replace(result, error=redactor.text(result.error))

    def _grow_long(self, attempt: Attempt) -> None:
        attempt.long = True
        self._listener.on_long(attempt)

    def _free_slot(self, lane: _SlotLane) -> None:
        lane.used -= 1
        self._start_waiting(lane)

    def _end(self, attempt: Attempt, result: Result) -> None:
        del self.attempts[attempt.key]
        self._listener.on_end(attempt, result)
