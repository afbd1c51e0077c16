"""Groups: limits that several tasks share, held where the log gives an attempt to an executor, on every node alike."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import group_pb2, task_pb2

from raftsched.core.machine.context import (
    ALREADY_EXISTS,
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    Context,
    rejected,
)
from raftsched.core.state.rows import group_start_key, parse_group_start, timestamp_us
from raftsched.ports import Table

MAX_GROUPS = 1_000


def put_group(context: Context, body: pb.PutGroup) -> pb.Outcome:
    """Create a group, or replace the limits of one."""
    found = find_group(context, body.group.name)
    if body.create and found is not None:
        return rejected(ALREADY_EXISTS, f"a group named {body.group.name!r} exists", "group.name")
    if not body.create and found is None:
        return rejected(NOT_FOUND, f"there is no group named {body.group.name!r}")
    if found is None and context.batch.count(Table.GROUPS) >= MAX_GROUPS:
        return rejected(RESOURCE_EXHAUSTED, f"there are {MAX_GROUPS} groups already")
    row = found or pb.GroupRow()
    created = row.group.create_time.ToMicroseconds() if found else context.command.now_us
    row.group.CopyFrom(_limits(body.group))
    row.group.create_time.FromMicroseconds(created)
    row.group.update_time.FromMicroseconds(context.command.now_us)
    _write(context, row)
    return pb.Outcome()


def delete_group(context: Context, body: pb.DeleteGroup) -> pb.Outcome:
    """Delete a group that no task names. What runs or waits goes on without limits."""
    row = find_group(context, body.name)
    if row is None:
        return rejected(NOT_FOUND, f"there is no group named {body.name!r}")
    if row.tasks:
        return rejected(FAILED_PRECONDITION, f"{row.tasks} tasks are in the group {body.name!r}: change them first")
    for key in [key for key, _ in context.batch.scan(Table.GROUP_STARTS, *_starts_of(body.name))]:
        context.batch.delete(Table.GROUP_STARTS, key)
    context.batch.delete(Table.GROUPS, body.name.encode())
    return pb.Outcome()


def regroup(context: Context, before: str, after: str) -> None:
    """Count a task that goes from one group to another; "" is none."""
    for name, change in ((before, -1), (after, 1)):
        row = find_group(context, name) if name and before != after else None
        if row is not None:
            row.tasks = max(0, row.tasks + change)
            _write(context, row)


def check_group(context: Context, task: task_pb2.Task) -> pb.Outcome | None:
    """Why a task cannot be in the group that it names; None when it can."""
    if task.group and find_group(context, task.group) is None:
        return rejected(INVALID_ARGUMENT, f"there is no group named {task.group!r}", "task.group")
    return None


def acquire(context: Context, name: str, execution_id: bytes) -> bool:
    """Take a place for an attempt that starts at this entry; False when a limit is reached.

    The starts of the last period are rows: so the limit holds for any period, and each costs what it adds and removes.
    """
    row = find_group(context, name)
    if row is None:
        return True
    if row.group.max_running and row.running >= row.group.max_running:
        return False
    if row.group.max_starts:
        row.starts -= _forget_starts(context, row.group)
        if row.starts >= row.group.max_starts:
            _write(context, row)
            return False
        row.starts += 1
        context.batch.put(Table.GROUP_STARTS, group_start_key(name, context.command.now_us, execution_id), b"")
    row.running += 1
    _write(context, row)
    return True


def release(context: Context, name: str) -> None:
    """Give back the place of an attempt that is over."""
    row = find_group(context, name)
    if row is not None:
        row.running = max(0, row.running - 1)
        _write(context, row)


def find_group(context: Context, name: str) -> pb.GroupRow | None:
    """The row of a group; None when there is none."""
    found = context.batch.get(Table.GROUPS, name.encode())
    return None if found is None else pb.GroupRow.FromString(found)


def _forget_starts(context: Context, group: group_pb2.Group) -> int:
    """Remove the starts that lie a period back, or so far ahead that a clock was wrong; returns how many."""
    now_us, period_us = context.command.now_us, timestamp_us(group.period)
    keys = []
    for key, _ in context.batch.scan(Table.GROUP_STARTS, *_starts_of(group.name)):
        if now_us - period_us < parse_group_start(key) <= now_us + period_us:
            break
        keys.append(key)
    for key in keys:
        context.batch.delete(Table.GROUP_STARTS, key)
    return len(keys)


def _starts_of(name: str) -> tuple[bytes, bytes]:
    return name.encode() + b"\0", name.encode() + b"\1"


def _limits(group: group_pb2.Group) -> group_pb2.Group:
    return group_pb2.Group(
        name=group.name, max_running=group.max_running, max_starts=group.max_starts, period=group.period
    )


def _write(context: Context, row: pb.GroupRow) -> None:
    context.batch.put(Table.GROUPS, row.group.name.encode(), row.SerializeToString())
