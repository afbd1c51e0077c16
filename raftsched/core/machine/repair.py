"""The command that mends what a clock which was ahead has done to cursors."""

from itertools import islice

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine.arming import withdraw
from raftsched.core.machine.context import Context
from raftsched.core.machine.tasks import keep_change, set_cursor, write_task
from raftsched.core.machine.terms import due_us
from raftsched.core.state.model import Decision
from raftsched.core.state.rows import (
    TIME_KEY,
    LedgerRow,
    be64,
    decode_cursor,
    due_key,
    ledger_key_after_task,
    timestamp_us,
)
from raftsched.ports import Table

EARLY = "decided by a clock that was ahead; decided again when the time came"
_STAMP_US = 5_000_000
"""An anchor that lies no further from when the definition was stamped is one that nobody chose."""
_MAX_ENTRIES = 10_000
"""Entries of one task that are marked. There may be more only if it made up more than that many nominal times."""


def mend_anchors(task: task_pb2.Task, now_us: int) -> None:
    """Let intervals that count from when a clock that was ahead registered the task count from an earlier time.

    One that somebody else chose stays, wherever it lies.
    """
    stamped_us = timestamp_us(task.create_time), timestamp_us(task.update_time)
    for schedule in (task.schedule, *task.schedule.union.schedules):
        every_us, anchor_us = timestamp_us(schedule.interval.every), timestamp_us(schedule.interval.anchor)
        is_stamped = any(abs(anchor_us - each) <= _STAMP_US for each in stamped_us)
        if schedule.HasField("interval") and every_us > 0 and anchor_us > now_us and is_stamped:
            back = (anchor_us - now_us + every_us - 1) // every_us
            schedule.interval.anchor.FromMicroseconds(max(0, anchor_us - back * every_us))


def repair_cursors(context: Context, body: pb.RepairCursors) -> pb.Outcome:
    """Move cursors back to where they belong, and mark what was decided too early; it stays on record.

    A task gets another generation: the nominal times are decided again, and their executions have other ids.
    """
    for item in body.items:
        _repair(context, item)
    if body.complete:
        context.batch.put(Table.META, TIME_KEY, be64(context.command.now_us))
    return pb.Outcome()


def _repair(context: Context, item: pb.RepairCursors.Item) -> None:
    batch, name = context.batch, item.task.encode()
    found, moved = batch.get(Table.TASKS, name), batch.get(Table.CURSORS, name)
    if found is None or moved is None:
        return
    row, cursor = pb.TaskRow.FromString(found), decode_cursor(moved)
    seen = (item.uid, item.expected_revision, item.expected_next_us, item.expected_last_us)
    if seen != (row.uid, row.revision, cursor.next_us, cursor.last_us):
        return
    now_us = context.command.now_us
    keep_change(context, row)
    due_before_us = due_us(row.task, cursor.next_us)
    mend_anchors(row.task, now_us)
    batch.delete(Table.DUE, due_key(due_before_us, name))
    row.task.generation += 1
    row.task.update_time.FromMicroseconds(now_us)
    write_task(context, name, row.task, row.uid)
    last_us = min(cursor.last_us, now_us)
    set_cursor(context, name, row.uid, context.index, item.next_us, last_us, due_us(row.task, item.next_us))
    _mark_early(context, item.task, now_us)
    withdraw(context, row, EARLY)
    context.applied.tasks.append(item.task)


def _mark_early(context: Context, name: str, now_us: int) -> None:
    """What a task's ledger says of the future, it says too early."""
    batch = context.batch
    rows = batch.scan(Table.LEDGER, name.encode() + b"\0", ledger_key_after_task(name), reverse=True)
    early: list[tuple[bytes, LedgerRow]] = []
    for key, value in islice(rows, _MAX_ENTRIES):
        row = LedgerRow.FromString(value)
        if row.last_nominal_us <= now_us and row.decide_us <= now_us:
            break
        early.append((key, row))
    for key, row in early:
        row.early = True
        row.reason = "; ".join(filter(None, (row.reason, EARLY)))
        batch.put(Table.LEDGER, key, row.SerializeToString())
        if row.decision != Decision.RAN:
            context.applied.ledger.append(key)
