"""Names the watches that are due, from rows with a due time: nothing waits in memory."""

from itertools import islice

from raftsched.core.rows import be64, parse_notice_key
from raftsched.ports import Fate, Reader, Table
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings


class Watcher:
    """Names the rows of ``Table.WATCHES`` that are due in CheckWatches commands, one command at a time."""

    def __init__(self, proposer: Proposer, settings: SchedulerSettings) -> None:
        self._proposer = proposer
        self._settings = settings
        self._under_way = False

    def step(self, reader: Reader) -> None:
        """Propose what is due, up to a batch of it. It costs what is due, not what waits."""
        if self._under_way:
            return
        command = self._proposer.command()
        due = reader.scan(Table.WATCHES, stop=be64(command.now_us + 1))
        for key, _ in islice(due, self._settings.fire_batch_items):
            due_us, execution_id, occasion = parse_notice_key(key)
            command.check_watches.items.add(due_us=due_us, id=execution_id, occasion=occasion)
        if command.check_watches.items:
            self._under_way = True
            self._proposer.propose(command, self._finish)

    def next_due_us(self, reader: Reader) -> int:
        """When the first row is due; 0 when there is none, and while a command is under way, whose end wakes."""
        if self._under_way:
            return 0
        return next((parse_notice_key(key)[0] for key, _ in reader.scan(Table.WATCHES)), 0)

    def _finish(self, _fate: Fate) -> None:
        self._under_way = False
