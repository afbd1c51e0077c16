"""Finds cursors that a clock which was ahead has moved, and proposes to move them back.

Commands leave the latest time that they were stamped with in the tables. When the agreed time lies before it, it was
ahead: every cursor that was moved meanwhile may stand too far in the future, and a task that recurs would be silent
until time has caught up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.repair import mend_anchors
from raftsched.core.policy.due import MAX_AHEAD_US
from raftsched.core.state.model import SECOND_US, At, Cursor, Delivery, Task
from raftsched.core.state.rows import TIME_KEY, calendars_of, decode_cursor, decode_task, timestamp_us
from raftsched.core.times.schedule import ScheduleError, next_fire
from raftsched.ports import AgreedClock, Fate, Reader, Table
from raftsched.scheduler.proposer import Proposer

BOUND_US = MAX_AHEAD_US + SECOND_US
"""What is ahead by less comes of itself, or was decided ahead."""
SETTLE_S = 60.0
"""Nothing is repaired for so long after the agreed time has jumped: it may jump back."""
_BATCH_ROWS = 2_000
_BATCH_ITEMS = 200
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Repair:
    """A cursor that is ahead, and where it belongs."""

    task: str
    uid: int
    revision: int
    cursor: Cursor
    next_us: int

    def fill(self, item: pb.RepairCursors.Item) -> None:
        """Say it in a command."""
        item.task, item.uid, item.expected_revision = self.task, self.uid, self.revision
        item.expected_next_us, item.expected_last_us = self.cursor.next_us, self.cursor.last_us
        item.next_us = self.next_us


def is_ahead(reader: Reader, now_us: int) -> bool:
    """Whether commands were stamped with times that are yet to come."""
    stamped = reader.get(Table.META, TIME_KEY)
    return stamped is not None and int.from_bytes(stamped, "big") > now_us + BOUND_US


def repairs(reader: Reader, start: bytes, now_us: int) -> Iterator[tuple[bytes, Repair | None]]:
    """The names of all tasks from ``start``, and what is to be repaired of each; None: nothing."""
    for name, value in reader.scan(Table.CURSORS, start):
        yield name, _repair_of(reader, name, decode_cursor(value), now_us)


def _repair_of(reader: Reader, name: bytes, cursor: Cursor, now_us: int) -> Repair | None:
    """Only what was decided, or changed, at a time that is yet to come can have been moved by a wrong clock."""
    if 0 < cursor.next_us <= now_us:
        return None
    found = reader.get(Table.TASKS, name)
    if found is None:
        return None
    row = pb.TaskRow.FromString(found)
    if max(cursor.last_us, timestamp_us(row.task.update_time)) <= now_us + BOUND_US:
        return None
    mend_anchors(row.task, now_us)
    task = decode_task(row.SerializeToString(), calendars_of(reader))
    try:
        next_us = next_fire(task.schedule, now_us)
    except ScheduleError as error:
        _log.error("a cursor that is ahead cannot be repaired", task=row.task.name, error=str(error))
        return None
    if not next_us or 0 < cursor.next_us <= next_us or _has_had_its_chance(task, cursor, next_us):
        return None
    return Repair(row.task.name, row.uid, row.revision, cursor, next_us)


def _has_had_its_chance(task: Task, cursor: Cursor, next_us: int) -> bool:
    """What may start at most once has, even if it was too early."""
    return task.delivery is Delivery.AT_MOST_ONCE and isinstance(task.schedule.kind, At) and cursor.last_us >= next_us


class CursorRepair:
    """Walks over the cursors, some at each step, while the tables hold times that are yet to come."""

    def __init__(self, proposer: Proposer, clock: AgreedClock) -> None:
        self._proposer = proposer
        self._clock = clock
        self._under_way = False
        self._resume: bytes | None = None
        self._found = 0

    def step(self, reader: Reader, now_s: float) -> None:
        """Propose the next part of a walk, if one is due. A log that refuses it lets the walk begin anew."""
        if self._under_way or now_s - self._clock.stepped_at_s < SETTLE_S:
            return
        command = self._proposer.command()
        if not is_ahead(reader, command.now_us):
            return
        if self._resume is None:
            _log.warning("the tables hold times that are yet to come: a clock was ahead; looking at all cursors")
            self._resume, self._found = b"", 0
        start, rows, body = self._resume, 0, command.repair_cursors
        body.SetInParent()
        for name, repair in repairs(reader, start, command.now_us):
            self._resume, rows = name + b"\0", rows + 1
            if repair is not None:
                repair.fill(body.items.add())
            if rows >= _BATCH_ROWS or len(body.items) >= _BATCH_ITEMS:
                break
        else:
            body.complete = True
        self._found += len(body.items)
        if not body.items and not body.complete:
            return
        self._under_way = True
        self._proposer.propose(command, self._finisher(complete=body.complete))

    def _finisher(self, *, complete: bool) -> Callable[[Fate], None]:
        def finish(fate: Fate) -> None:
            self._under_way = False
            if fate is not Fate.DONE:
                self._resume = None
            elif complete:
                self._resume = None
                _log.warning("cursors that a clock had moved ahead were moved back", tasks=self._found)

        return finish
