"""Sees processes start, and holds that against true time and against what clients were told.

Shares nothing with the scheduler: it knows when a call was made and answered, and when a process began.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.consensus.world import Violation, World
from tests.simulation.system.ground import Process
from tests.simulation.system.ledger import SCHEDULE, LogChecks

CLOCK_ERROR_US = 500_000
"""What docs/consensus.md promises: nothing starts earlier than so long before its true time."""


@dataclass
class _Known:
    """What clients know of one task."""

    movers: int = 0
    """Calls under way, or without an answer, after which it may fire again."""
    moves: int = 0
    """Such calls so far."""
    paused_since_s: float | None = None
    """When a pause was answered that no such call has followed."""


class Witness:
    """Nothing starts before its time, and nothing for a later time once a pause has been answered."""

    def __init__(self, world: World, epoch_us: int, log: LogChecks, error_us: Callable[[], float]) -> None:
        """``epoch_us``: when the world begins, in microseconds since the Unix epoch.

        ``error_us``: how far the clocks that decide may be wrong.
        """
        self._epoch_us = epoch_us
        self._world = world
        self._log = log
        self._error_us = error_us
        self._tasks: dict[str, _Known] = {}
        self._first_s: dict[bytes, float] = {}
        """When the first process of each execution began."""
        self.paused = 0
        """Pauses that were answered."""

    def asks_to_move(self, task: str) -> None:
        """A call begins after which the task may fire again."""
        known = self._tasks.setdefault(task, _Known())
        known.movers += 1
        known.moves += 1
        known.paused_since_s = None

    def moved(self, task: str) -> None:
        """Such a call was answered; without an answer it may yet be carried out."""
        self._tasks[task].movers -= 1

    def asks_to_pause(self, task: str) -> Callable[[], None]:
        """A call begins that pauses the task; returns what is to be called when it is answered.

        It counts only if no call that may let the task fire again was under way meanwhile.
        """
        known = self._tasks.setdefault(task, _Known())
        moved_before, is_alone = known.moves, not known.movers

        def answered() -> None:
            self.paused += 1
            if is_alone and known.moves == moved_before:
                known.paused_since_s = self._world.now

        return answered

    def started(self, process: Process) -> None:
        """A process begins."""
        what = f"{process.task} at {process.nominal_us} (#{process.attempt} on {process.machine})"
        early_us = process.nominal_us - self._epoch_us - int(self._world.now * 1e6)
        if early_us > self._error_us():
            self._found(f"early: {what} started {early_us / 1e6:.3f} s before its time")
        first_s = self._first_s.setdefault(process.execution_id, self._world.now)
        known, row = self._tasks.get(process.task), self._log.state.executions.get(process.execution_id)
        if known is None or known.paused_since_s is None or row is None or row.trigger != SCHEDULE:
            return
        if first_s < known.paused_since_s:
            # What had started before may be tried again.
            return
        task = self._log.state.tasks.get(process.task)
        is_later = task is not None and process.nominal_us > task.paused_us
        if is_later or process.execution_id in self._log.not_to_start:
            since_s = self._world.now - known.paused_since_s
            self._found(f"paused: {what} started {since_s:.3f} s after a pause of the task was answered")

    def _found(self, what: str) -> None:
        """Not at once: what starts processes would take it for a failure of theirs."""

        def tell() -> None:
            raise Violation(what)

        self._world.after(0.0, tell)
