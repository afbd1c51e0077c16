"""Commands that register, replace and delete tasks."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine.arming import PAUSED, decide_kept, withdraw
from raftsched.core.machine.calendar_uses import calendars_moved, check_calendars, leave_calendars, use_calendars
from raftsched.core.machine.chains import check_parents, children_of, give_up_rounds, link, unlink
from raftsched.core.machine.context import (
    ABORTED,
    ALREADY_EXISTS,
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    NOT_FOUND,
    Context,
    rejected,
    required,
)
from raftsched.core.machine.groups import check_group, regroup
from raftsched.core.machine.ledger import write_ledger
from raftsched.core.machine.numbers import take_uids
from raftsched.core.machine.terms import due_us, terms_of
from raftsched.core.machine.wellformed import is_definition
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, Trigger
from raftsched.core.state.rows import decode_cursor, due_key, due_value, encode_cursor, task_change_key
from raftsched.ports import Table

MAX_BATCH_TASKS = 10_000
MAX_TASK_CHANGES = 100
"""Replaced definitions and deletions that are kept of one task name."""
MAX_INT64 = (1 << 63) - 1


def register_tasks(context: Context, body: pb.RegisterTasks) -> pb.Outcome:
    """Create tasks; each item has an outcome of its own, but for calendars that have changed: then none is created."""
    if len(body.items) > MAX_BATCH_TASKS:
        return rejected(INVALID_ARGUMENT, f"more than {MAX_BATCH_TASKS} tasks in one command")
    for item in body.items:
        if moved := calendars_moved(context, item.task.schedule, item.calendars_revision):
            return moved
    outcome = pb.Outcome()
    for item, uid in zip(body.items, take_uids(context, len(body.items)), strict=True):
        outcome.results.append(_register(context, item, uid))
    return outcome


def _register(context: Context, item: pb.RegisterTasks.Item, uid: int) -> pb.Outcome:
    batch, task = context.batch, item.task
    if not is_definition(task, item.next_us):
        return rejected(INVALID_ARGUMENT, "the task was refused before it was proposed")
    name = task.name.encode()
    if batch.get(Table.TASKS, name) is not None:
        return rejected(ALREADY_EXISTS, f"a task named {task.name!r} exists", "task.name")
    if problem := check_parents(context, task) or check_group(context, task) or check_calendars(context, task):
        return problem
    task.generation = 1
    task.create_time.FromMicroseconds(context.command.now_us)
    task.update_time.CopyFrom(task.create_time)
    write_task(context, name, task, uid)
    set_cursor(context, name, uid, context.index, item.next_us, 0, due_us(task, item.next_us))
    link(context, task)
    regroup(context, "", task.group)
    use_calendars(context, task)
    context.applied.tasks.append(task.name)
    return pb.Outcome(uid=uid)


def write_task(context: Context, name: bytes, task: task_pb2.Task, uid: int) -> None:
    """Write a definition as of this entry."""
    row = pb.TaskRow(task=task, uid=uid, revision=context.index, actor=context.command.actor)
    # Maps have no order of their own: without `deterministic` each process would write its own.
    context.batch.put(Table.TASKS, name, row.SerializeToString(deterministic=True))


def keep_change(context: Context, row: pb.TaskRow) -> None:
    """Remember a definition that has been replaced, or a deletion; of one name the last 100."""
    batch, name = context.batch, row.task.name
    rows = batch.scan(Table.TASK_CHANGES, task_change_key(name, 0), task_change_key(name, MAX_INT64))
    kept = [key for key, _ in rows]
    for key in kept[: max(0, len(kept) + 1 - MAX_TASK_CHANGES)]:
        batch.delete(Table.TASK_CHANGES, key)
    value = row.SerializeToString(deterministic=True)
    batch.put(Table.TASK_CHANGES, task_change_key(name, row.revision), value)


def set_cursor(context: Context, name: bytes, uid: int, revision: int, next_us: int, last_us: int, due_us: int) -> None:
    """Move the cursor of a task, and make it due at ``due_us`` (0: never), on the terms of that revision."""
    context.batch.put(Table.CURSORS, name, encode_cursor(next_us, last_us))
    if due_us:
        context.batch.put(Table.DUE, due_key(due_us, name), due_value(uid, revision))


def resume(context: Context, item: pb.Fire.Item) -> None:
    """End the pause of a task whose time to resume has come. Its due row says that it is still paused."""
    name = item.task.encode()
    row = pb.TaskRow.FromString(required(context.batch, Table.TASKS, name))
    keep_change(context, row)
    row.task.paused = False
    row.task.ClearField("resume_time")
    row.task.update_time.FromMicroseconds(context.command.now_us)
    write_task(context, name, row.task, row.uid)
    context.applied.tasks.append(item.task)


def replace_task(context: Context, body: pb.ReplaceTask) -> pb.Outcome:
    """Replace the definition of a task, and give up the nominal times that the new one leaves behind."""
    batch, task = context.batch, body.task
    name = task.name.encode()
    found = batch.get(Table.TASKS, name)
    if found is None:
        return rejected(NOT_FOUND, f"there is no task named {task.name!r}")
    row = pb.TaskRow.FromString(found)
    cursor = decode_cursor(required(batch, Table.CURSORS, name))
    if row.revision != body.expected_revision or (body.moves_cursor and cursor.next_us != body.expected_next_us):
        return rejected(ABORTED, f"the task {task.name!r} has changed since it was read")
    if moved := calendars_moved(context, task.schedule, body.calendars_revision):
        return moved
    problem = check_parents(context, task) or check_group(context, task) or check_calendars(context, task, row.task)
    if problem:
        return problem
    regroup(context, row.task.group, task.group)
    leave_calendars(context, row.task)
    use_calendars(context, task)
    if list(task.after) != list(row.task.after):
        give_up_rounds(context, row, "the tasks it runs after were changed")
        unlink(context, row.task)
        link(context, task)
    task.generation = row.task.generation + body.schedule_changed
    task.create_time.CopyFrom(row.task.create_time)
    task.update_time.FromMicroseconds(context.command.now_us)
    keep_change(context, row)
    write_task(context, name, task, row.uid)
    batch.delete(Table.DUE, due_key(due_us(row.task, cursor.next_us), name))
    next_us, last_us = cursor.next_us, cursor.last_us
    if body.moves_cursor:
        if body.skipped_last_us >= next_us > 0:
            _give_up(context, row, next_us, body)
            last_us = body.skipped_last_us
        next_us = body.next_us
    set_cursor(context, name, row.uid, context.index, next_us, last_us, due_us(task, next_us))
    context.applied.tasks.append(task.name)
    if body.schedule_changed:
        decide_kept(context, pb.TaskRow(task=task, uid=row.uid), body.kept_us)
    return pb.Outcome(uid=row.uid, withdrawn=_withdraw(context, row.uid, body))


def _withdraw(context: Context, uid: int, body: pb.ReplaceTask) -> list[bytes]:
    """Withdraw what was decided ahead on the terms before."""
    changed = pb.TaskRow(task=body.task, uid=uid)
    if body.task.paused:
        return withdraw(context, changed, PAUSED)
    if body.schedule_changed:
        return withdraw(context, changed, "the schedule was replaced", frozenset(body.kept_us))
    return withdraw(context, changed, "", None)


def _give_up(context: Context, row: pb.TaskRow, first_us: int, body: pb.ReplaceTask) -> None:
    decided = pb.Fire.Decided(
        nominal_us=first_us,
        last_nominal_us=body.skipped_last_us,
        count=body.skipped_count,
        decision=Decision.SKIPPED,
        reason=body.skip_reason,
    )
    execution_id = ids.execution_id(row.uid, row.task.generation, first_us)
    write_ledger(context, terms_of(row), execution_id, decided, Trigger.SCHEDULE)


def delete_task(context: Context, body: pb.DeleteTask) -> pb.Outcome:
    """Delete a task; a nominal time that was due and not decided is recorded as skipped."""
    batch, name = context.batch, body.name.encode()
    found = batch.get(Table.TASKS, name)
    if found is None:
        return rejected(NOT_FOUND, f"there is no task named {body.name!r}")
    row = pb.TaskRow.FromString(found)
    if body.expected_revision and body.expected_revision != row.revision:
        return rejected(ABORTED, f"the task {body.name!r} has changed since it was read")
    if children := children_of(context, body.name):
        others = f" and {len(children) - 3} more" if len(children) > 3 else ""
        message = f"{', '.join(children[:3])}{others} run after the task {body.name!r}: delete or change them first"
        return rejected(FAILED_PRECONDITION, message)
    cursor = decode_cursor(required(batch, Table.CURSORS, name))
    give_up_rounds(context, row, "the task was deleted")
    regroup(context, row.task.group, "")
    leave_calendars(context, row.task)
    unlink(context, row.task)
    keep_change(context, row)
    deletion = pb.TaskRow(
        task=row.task,
        uid=row.uid,
        revision=context.index,
        actor=context.command.actor,
        delete_us=context.command.now_us,
    )
    keep_change(context, deletion)
    batch.delete(Table.TASKS, name)
    batch.delete(Table.CURSORS, name)
    batch.delete(Table.DUE, due_key(due_us(row.task, cursor.next_us), name))
    if 0 < cursor.next_us <= context.command.now_us:
        lapsed = pb.Fire.Decided(
            nominal_us=cursor.next_us,
            last_nominal_us=context.command.now_us,
            decision=Decision.SKIPPED,
            reason="the task was deleted",
        )
        execution_id = ids.execution_id(row.uid, row.task.generation, cursor.next_us)
        write_ledger(context, terms_of(row), execution_id, lapsed, Trigger.SCHEDULE)
    context.applied.tasks.append(body.name)
    return pb.Outcome(uid=row.uid, withdrawn=withdraw(context, row, "the task was deleted"))
