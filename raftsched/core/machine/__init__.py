"""The replicated state machine: what each command does to the tables.

``apply`` is total: a bad command gives a rejected outcome, and it reads no clock, no time zone and no random source, so
that every node that applies the same log has the same tables. Only a broken invariant of our own raises, and a command
that is of a newer version than this program: both stop the node before it can diverge.

A new kind of command is a function in one of the modules here and a line in ``_HANDLERS``.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.unknown import has_unknown, unknown_field
from raftsched.commands.versions import NEWEST_VERSION, VERSIONS, Versions
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
    Applied,
    Context,
    rejected,
)
from raftsched.core.machine.ending import cancel_execution
from raftsched.core.machine.fires import fire, run_task
from raftsched.core.machine.groups import delete_group, put_group
from raftsched.core.machine.notices import check_watches, note, settle_notices
from raftsched.core.machine.numbers import keep_lead
from raftsched.core.machine.repair import repair_cursors
from raftsched.core.machine.retention import retire
from raftsched.core.machine.sinks import advance_sink
from raftsched.core.machine.tasks import MAX_BATCH_TASKS, MAX_TASK_CHANGES, delete_task, register_tasks, replace_task
from raftsched.core.machine.upgrade import raise_version
from raftsched.core.machine.wellformed import command_problem
from raftsched.core.state.rows import TIME_KEY, be64
from raftsched.ports import Batch, Table

__all__ = [
    "ABORTED",
    "ALREADY_EXISTS",
    "COMMAND_VERSION",
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "MAX_BATCH_TASKS",
    "MAX_PARENTS",
    "MAX_TASK_CHANGES",
    "NOT_FOUND",
    "OK",
    "REQUEST_MEMORY_US",
    "Applied",
    "apply",
]

COMMAND_VERSION = NEWEST_VERSION
"""The newest version of a command that this machine applies."""
_TIME_STEP_US = 1_000_000
REQUEST_MEMORY_US = 3600 * 1_000_000
"""How long the outcome of a request id is remembered."""


def apply(batch: Batch, index: int, data: bytes, versions: Versions = VERSIONS) -> Applied:
    """Apply the command ``data`` of log entry ``index`` to the tables.

    Raises NodeOutdated before anything of it is applied: it is of a version that came after ``versions``.
    """
    command = pb.Command()
    applied = Applied(pb.Outcome())
    try:
        command.ParseFromString(data)
    except DecodeError:
        applied.outcome = rejected(INVALID_ARGUMENT, "the log entry holds no command")
        return applied
    _refuse_newer(index, data, command, versions)
    kind = command.WhichOneof("kind")
    if kind is None or not command.version:
        applied.outcome = rejected(INVALID_ARGUMENT, "the log entry holds a command of no kind, or of no version")
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
    keep_lead(context)
    # A rejected command changed nothing: when it comes again it is judged again.
    if not applied.outcome.code:
        _note_time(context)
        if request:
            _remember(context, request)
    return applied


def _refuse_newer(index: int, data: bytes, command: pb.Command, versions: Versions) -> None:
    """Raises NodeOutdated. What is not known here would be dropped here, and done by the nodes that know it."""
    what = f"log entry {index}"
    versions.check(what, command.version)
    if has_unknown(command, len(data)) and (path := unknown_field(pb.Command.FromString(data))):
        versions.refuse_unknown(what, f"field {path} of a command")
    if beyond := versions.beyond(versions.newest, command):
        versions.refuse_unknown(what, beyond)


def _note_time(context: Context) -> None:
    """Keep the latest time that a command was stamped with, to a second: who finds it in the future knows that clocks
    were wrong.
    """
    now_us, noted = context.command.now_us, context.batch.get(Table.META, TIME_KEY)
    if noted is None or now_us >= int.from_bytes(noted, "big") + _TIME_STEP_US:
        context.batch.put(Table.META, TIME_KEY, be64(now_us))


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
    "repair_cursors": repair_cursors,
    "check_watches": check_watches,
    "settle_notices": settle_notices,
    "check_state": check_state,
    "raise_version": raise_version,
}
