"""Names in commands the rows whose time has come: nothing waits in memory."""

from collections.abc import Callable
from itertools import islice

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.state.rows import be64, parse_notice_key
from raftsched.ports import Fate, Reader, Table
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings

_DUE_BYTES = 8
"""With which the key of such a row begins: when it is due, in microseconds since the Unix epoch."""


class Waker:
    """Names the rows of one table that are due, one command at a time."""

    def __init__(
        self, proposer: Proposer, settings: SchedulerSettings, table: Table, name: Callable[[pb.Command, bytes], None]
    ) -> None:
        """``name`` adds the row with a key to a command."""
        self._proposer = proposer
        self._settings = settings
        self._table = table
        self._name = name
        self._under_way = False

    def step(self, reader: Reader) -> None:
        """Propose what is due, up to a batch of it. It costs what is due, not what waits."""
        if self._under_way:
            return
        command = self._proposer.command()
        due = reader.scan(self._table, stop=be64(command.now_us + 1))
        for key, _ in islice(due, self._settings.fire_batch_items):
            self._name(command, key)
        if command.WhichOneof("kind") is not None:
            self._under_way = True
            self._proposer.propose(command, self._finish)

    def next_due_us(self, reader: Reader) -> int:
        """When the first row is due; 0 when none waits, and while a command is under way, whose end wakes."""
        if self._under_way:
            return 0
        return next((_due_us(key) for key, _ in reader.scan(self._table)), 0)

    def _finish(self, _fate: Fate) -> None:
        self._under_way = False


def executions(proposer: Proposer, settings: SchedulerSettings) -> Waker:
    """Wakes executions that wait for a time, such as that of their next attempt."""

    def name(command: pb.Command, key: bytes) -> None:
        command.wake.items.add(due_us=_due_us(key), id=key[_DUE_BYTES:])

    return Waker(proposer, settings, Table.TIMERS, name)


def watches(proposer: Proposer, settings: SchedulerSettings) -> Waker:
    """Looks at what should have happened by now, and is to be notified when it has not."""

    def name(command: pb.Command, key: bytes) -> None:
        due_us, execution_id, occasion = parse_notice_key(key)
        command.check_watches.items.add(due_us=due_us, id=execution_id, occasion=occasion)

    return Waker(proposer, settings, Table.WATCHES, name)


def _due_us(key: bytes) -> int:
    return int.from_bytes(key[:_DUE_BYTES], "big")
