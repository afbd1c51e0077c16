"""The replicated state machine: what each command does to the tables.

``apply`` is total: a bad command gives a rejected outcome, and it reads no clock, no time zone and no random source, so
that every node that applies the same log has the same tables. Only a broken invariant of our own raises, which stops
the node before it can diverge.

A new kind of command is a function in one of the modules here and a line in ``_HANDLERS``.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from raftsched.core.machine.attempts import assign, expire, report, wake
from raftsched.core.machine.backfill import backfill_task
from raftsched.core.machine.calendars import delete_calendar, put_calendar
from raftsched.core.machine.chains import MAX_PARENTS, follow_ends
from raftsched.core.machine.checking import check_state
from raftsched.core.machine.context import (
    ABORTED,
    ALREADY_EXISTS,
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    NOT_FOUND,
    OK,
    UNIMPLEMENTED,
    Applied,
    Context,
    rejected,
)
from raftsched.core.machine.ending import cancel_execution
from raftsched.core.machine.fires import fire, run_task
from raftsched.core.machine.groups import delete_group, put_group
from raftsched.core.machine.notices import check_watches, note, settle_notices
from raftsched.core.machine.retention import retire
from raftsched.core.machine.sinks import advance_sink
from raftsched.core.machine.tasks import MAX_BATCH_TASKS, delete_task, register_tasks, replace_task
from raftsched.core.rows import be64
from raftsched.core.wellformed import command_problem
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Batch, Table

__all__ = [
    "ABORTED",
    "ALREADY_EXISTS",
    "COMMAND_VERSION",
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "MAX_BATCH_TASKS",
    "MAX_PARENTS",
    "NOT_FOUND",
    "OK",
    "REQUEST_MEMORY_US",
    "UNIMPLEMENTED",
    "Applied",
    "apply",
]

COMMAND_VERSION = 1
REQUEST_MEMORY_US = 3600 * 1_000_000
"""How long the outcome of a request id is remembered."""


def apply(batch: Batch, index: int, data: bytes) -> Applied:
    """Apply the command ``data`` of log entry ``index`` to the tables."""
    command = pb.Command()
    applied = Applied(pb.Outcome())
    try:
        command.ParseFromString(data)
    except DecodeError:
        applied.outcome = rejected(INVALID_ARGUMENT, "the log entry holds no command")
        return applied
    if command.version != COMMAND_VERSION:
        applied.outcome = rejected(UNIMPLEMENTED, f"command version {command.version} is not known to this node")
        return applied
    kind = command.WhichOneof("kind")
    if kind is None:
        applied.outcome = rejected(UNIMPLEMENTED, "the kind of the command is not known to this node")
        return applied
    if problem := command_problem(command):
        applied.outcome = rejected(INVALID_ARGUMENT, problem)
        return applied
    request = command.request_id.encode()
    if request and (known := batch.get(Table.REQUESTS, request)) is not None:
        applied.outcome = pb.RequestRow.FromString(known).outcome
        return applied
    context = Context(batch, index, command, applied)
    applied.outcome = _HANDLERS[kind](context, getattr(command, kind))
    follow_ends(context)
    note(context)
    # A rejected command changed nothing: when it comes again it is judged again.
    if request and not applied.outcome.code:
        _remember(context, request)
    return applied


def _remember(context: Context, request: bytes) -> None:
    expiry_us = context.command.now_us + REQUEST_MEMORY_US
    row = pb.RequestRow(expiry_us=expiry_us, outcome=context.applied.outcome)
    context.batch.put(Table.REQUESTS, request, row.SerializeToString())
    context.batch.put(Table.REQUEST_EXPIRY, be64(expiry_us) + request, b"")


_HANDLERS: dict[str, Callable[[Context, Any], pb.Outcome]] = {
    "register_tasks": register_tasks,
    "replace_task": replace_task,
    "delete_task": delete_task,
    "run_task": run_task,
    "backfill_task": backfill_task,
    "put_group": put_group,
    "delete_group": delete_group,
    "put_calendar": put_calendar,
    "delete_calendar": delete_calendar,
    "cancel_execution": cancel_execution,
    "fire": fire,
    "assign": assign,
    "report": report,
    "expire": expire,
    "retire": retire,
    "wake": wake,
    "advance_sink": advance_sink,
    "check_watches": check_watches,
    "settle_notices": settle_notices,
    "check_state": check_state,
}
