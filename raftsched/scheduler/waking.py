"""Wakes executions whose time has come, from rows with a due time: nothing waits in memory."""

from itertools import islice

from raftsched.core.rows import be64
from raftsched.ports import Fate, Reader, Table
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings


class Waker:
    """Names the rows of ``Table.TIMERS`` that are due in Wake commands, one command at a time."""

    def __init__(self, proposer: Proposer, settings: SchedulerSettings) -> None:
        self._proposer = proposer
        self._settings = settings
        self._under_way = False

    def step(self, reader: Reader) -> None:
        """Propose what is due, up to a batch of it. It costs what is due, not what waits."""
        if self._under_way:
            return
        command = self._proposer.command()
        due = reader.scan(Table.TIMERS, stop=be64(command.now_us + 1))
        for key, _ in islice(due, self._settings.fire_batch_items):
            command.wake.items.add(due_us=int.from_bytes(key[:8], "big"), id=key[8:])
        if command.wake.items:
            self._under_way = True
            self._proposer.propose(command, self._finish)

    def next_due_us(self, reader: Reader) -> int:
        """When the first row is due; 0 when nobody waits, and while a command is under way, whose end wakes."""
        if self._under_way:
            return 0
        return next((int.from_bytes(key[:8], "big") for key, _ in reader.scan(Table.TIMERS)), 0)

    def _finish(self, _fate: Fate) -> None:
        self._under_way = False
