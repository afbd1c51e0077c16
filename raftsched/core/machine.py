"""The replicated state machine: what each command does to the tables.

``apply`` is total: a bad command gives a rejected outcome, and it reads no clock, no time zone and no random source, so
that every node that applies the same log has the same tables. Only a broken invariant of our own raises, which stops
the node before it can diverge.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from raftsched_client.v1 import task_pb2

from raftsched.core import ids
from raftsched.core.lifecycle import MAX_ATTEMPTS, may_follow
from raftsched.core.model import Decision, Delivery, ExecutionState, Trigger
from raftsched.core.rows import (
    ExecutionRow,
    LedgerRow,
    active_value,
    be64,
    decode_cursor,
    due_key,
    due_value,
    encode_cursor,
    failure_key,
    ledger_key,
)
from raftsched.core.wellformed import command_problem, is_task
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Batch, Table

COMMAND_VERSION = 1
REQUEST_MEMORY_US = 3600 * 1_000_000
"""How long the outcome of a request id is remembered."""
MAX_BATCH_TASKS = 10_000
_UIDS_PER_ENTRY = 16_384

# google.rpc.Code
OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED, UNIMPLEMENTED = 0, 3, 5, 6, 9, 10, 12


@dataclass(slots=True)
class Applied:
    """What one command did: its outcome, and the executions and tasks that it changed, as they are after it."""

    outcome: pb.Outcome
    executions: list[tuple[bytes, ExecutionRow]] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Context:
    batch: Batch
    index: int
    command: pb.Command
    applied: Applied


def apply(batch: Batch, index: int, data: bytes) -> Applied:
    """Apply the command ``data`` of log entry ``index`` to the tables."""
    command = pb.Command()
    applied = Applied(pb.Outcome())
    try:
        command.ParseFromString(data)
    except DecodeError:
        applied.outcome = _rejected(INVALID_ARGUMENT, "the log entry holds no command")
        return applied
    if command.version != COMMAND_VERSION:
        applied.outcome = _rejected(UNIMPLEMENTED, f"command version {command.version} is not known to this node")
        return applied
    kind = command.WhichOneof("kind")
    if kind is None:
        applied.outcome = _rejected(UNIMPLEMENTED, "the kind of the command is not known to this node")
        return applied
    if problem := command_problem(command):
        applied.outcome = _rejected(INVALID_ARGUMENT, problem)
        return applied
    request = command.request_id.encode()
    if request and (known := batch.get(Table.REQUESTS, request)) is not None:
        applied.outcome = pb.RequestRow.FromString(known).outcome
        return applied
    context = _Context(batch, index, command, applied)
    applied.outcome = _HANDLERS[kind](context, getattr(command, kind))
    # A rejected command changed nothing: when it comes again it is judged again.
    if request and not applied.outcome.code:
        _remember(context, request)
    return applied


def _rejected(code: int, message: str, field_name: str = "") -> pb.Outcome:
    return pb.Outcome(code=code, message=message, field=field_name)


def _remember(context: _Context, request: bytes) -> None:
    expiry_us = context.command.now_us + REQUEST_MEMORY_US
    row = pb.RequestRow(expiry_us=expiry_us, outcome=context.applied.outcome)
    context.batch.put(Table.REQUESTS, request, row.SerializeToString())
    context.batch.put(Table.REQUEST_EXPIRY, be64(expiry_us) + request, b"")


# Tasks


def _register_tasks(context: _Context, body: pb.RegisterTasks) -> pb.Outcome:
    if len(body.items) > MAX_BATCH_TASKS:
        return _rejected(INVALID_ARGUMENT, f"more than {MAX_BATCH_TASKS} tasks in one command")
    outcome = pb.Outcome()
    for position, item in enumerate(body.items):
        outcome.results.append(_register(context, item, context.index * _UIDS_PER_ENTRY + position))
    return outcome


def _register(context: _Context, item: pb.RegisterTasks.Item, uid: int) -> pb.Outcome:
    batch, task = context.batch, item.task
    if not is_task(task.name, task.delivery, item.next_us):
        return _rejected(INVALID_ARGUMENT, "the task was refused before it was proposed")
    name = task.name.encode()
    if batch.get(Table.TASKS, name) is not None:
        return _rejected(ALREADY_EXISTS, f"a task named {task.name!r} exists", "task.name")
    task.generation = 1
    task.create_time.FromMicroseconds(context.command.now_us)
    task.update_time.CopyFrom(task.create_time)
    _write_task(context, name, task, uid)
    _set_cursor(context, name, uid, 1, item.next_us, 0, paused=task.paused)
    context.applied.tasks.append(task.name)
    return pb.Outcome(uid=uid)


def _write_task(context: _Context, name: bytes, task: task_pb2.Task, uid: int) -> None:
    row = pb.TaskRow(task=task, uid=uid, revision=context.index)
    # Maps have no order of their own: without `deterministic` each process would write its own.
    context.batch.put(Table.TASKS, name, row.SerializeToString(deterministic=True))


def _set_cursor(
    context: _Context, name: bytes, uid: int, generation: int, next_us: int, last_us: int, *, paused: bool
) -> None:
    context.batch.put(Table.CURSORS, name, encode_cursor(next_us, last_us))
    if next_us and not paused:
        context.batch.put(Table.DUE, due_key(next_us, name), due_value(uid, generation))


def _replace_task(context: _Context, body: pb.ReplaceTask) -> pb.Outcome:
    batch, task = context.batch, body.task
    name = task.name.encode()
    found = batch.get(Table.TASKS, name)
    if found is None:
        return _rejected(NOT_FOUND, f"there is no task named {task.name!r}")
    row = pb.TaskRow.FromString(found)
    cursor = decode_cursor(_required(batch, Table.CURSORS, name))
    if row.revision != body.expected_revision or (body.moves_cursor and cursor.next_us != body.expected_next_us):
        return _rejected(ABORTED, f"the task {task.name!r} has changed since it was read")
    task.generation = row.task.generation + body.schedule_changed
    task.create_time.CopyFrom(row.task.create_time)
    task.update_time.FromMicroseconds(context.command.now_us)
    _write_task(context, name, task, row.uid)
    batch.delete(Table.DUE, due_key(cursor.next_us, name))
    next_us, last_us = cursor.next_us, cursor.last_us
    if body.moves_cursor:
        if body.skipped_last_us >= next_us > 0:
            _give_up(context, task.name, row.uid, row.task.generation, next_us, body)
            last_us = body.skipped_last_us
        next_us = body.next_us
    _set_cursor(context, name, row.uid, task.generation, next_us, last_us, paused=task.paused)
    context.applied.tasks.append(task.name)
    return pb.Outcome(uid=row.uid)


def _give_up(context: _Context, name: str, uid: int, generation: int, first_us: int, body: pb.ReplaceTask) -> None:
    decided = pb.Fire.Decided(
        nominal_us=first_us,
        last_nominal_us=body.skipped_last_us,
        count=body.skipped_count,
        decision=Decision.SKIPPED,
        reason=body.skip_reason,
    )
    _write_ledger(context, name, uid, ids.execution_id(uid, generation, first_us), decided, Trigger.SCHEDULE)


def _delete_task(context: _Context, body: pb.DeleteTask) -> pb.Outcome:
    batch, name = context.batch, body.name.encode()
    found = batch.get(Table.TASKS, name)
    if found is None:
        return _rejected(NOT_FOUND, f"there is no task named {body.name!r}")
    row = pb.TaskRow.FromString(found)
    if body.expected_revision and body.expected_revision != row.revision:
        return _rejected(ABORTED, f"the task {body.name!r} has changed since it was read")
    cursor = decode_cursor(_required(batch, Table.CURSORS, name))
    batch.delete(Table.TASKS, name)
    batch.delete(Table.CURSORS, name)
    batch.delete(Table.DUE, due_key(cursor.next_us, name))
    if 0 < cursor.next_us <= context.command.now_us:
        lapsed = pb.Fire.Decided(
            nominal_us=cursor.next_us,
            last_nominal_us=context.command.now_us,
            decision=Decision.SKIPPED,
            reason="the task was deleted",
        )
        execution_id = ids.execution_id(row.uid, row.task.generation, cursor.next_us)
        _write_ledger(context, body.name, row.uid, execution_id, lapsed, Trigger.SCHEDULE)
    context.applied.tasks.append(body.name)
    return pb.Outcome(uid=row.uid)


def _required(batch: Batch, table: Table, key: bytes) -> bytes:
    value = batch.get(table, key)
    assert value is not None, f"{table} has no row for {key!r}"
    return value


# Fires


def _fire(context: _Context, body: pb.Fire) -> pb.Outcome:
    for item in body.items:
        _fire_one(context, item)
    return pb.Outcome()


def _fire_one(context: _Context, item: pb.Fire.Item) -> None:
    """Decide nominal times of one task, if its cursor still stands where the proposer saw it.

    The due row is the guard: it goes away when the task is paused, changed, deleted or fired by somebody else.
    """
    batch, name = context.batch, item.task.encode()
    key = due_key(item.expected_next_us, name)
    if batch.get(Table.DUE, key) != due_value(item.uid, item.generation) or not item.decided:
        return
    batch.delete(Table.DUE, key)
    _set_cursor(context, name, item.uid, item.generation, item.next_us, item.decided[-1].last_nominal_us, paused=False)
    if not item.next_us:
        context.applied.tasks.append(item.task)
    delivery = Delivery(item.delivery or Delivery.AT_LEAST_ONCE)
    for decided in item.decided:
        execution_id = ids.execution_id(item.uid, item.generation, decided.nominal_us)
        if decided.decision == Decision.RAN:
            row = _new_execution(context, item.task, item.uid, item.generation, delivery)
            row.trigger = Trigger.SCHEDULE
            row.nominal_us = decided.nominal_us
            _place(context, execution_id, row, decided.executor_id)
        _write_ledger(context, item.task, item.uid, execution_id, decided, Trigger.SCHEDULE)


def _new_execution(context: _Context, task: str, uid: int, generation: int, delivery: Delivery) -> ExecutionRow:
    command = context.command
    return ExecutionRow(
        task=task,
        uid=uid,
        generation=generation,
        attempt=1,
        fire_us=command.now_us,
        leader_id=command.leader_id,
        term=command.term,
        delivery=delivery,
    )


def _place(context: _Context, execution_id: bytes, row: ExecutionRow, executor_id: str) -> None:
    """Give a new or pending execution to an executor, or leave it pending when none is named."""
    if executor_id:
        row.state = ExecutionState.ASSIGNED
        row.executor_id = executor_id
        # Log indexes only rise, so that a later attempt always has the higher token.
        row.fencing_token = context.index
        context.batch.put(Table.ACTIVE, execution_id, active_value(row.attempt, executor_id))
    else:
        row.state = ExecutionState.PENDING
        context.batch.put(Table.PENDING, execution_id, b"")
    _write_execution(context, execution_id, row)


def _write_execution(context: _Context, execution_id: bytes, row: ExecutionRow) -> None:
    context.batch.put(Table.EXECUTIONS, execution_id, row.SerializeToString())
    context.applied.executions.append((execution_id, row))


def _write_ledger(
    context: _Context, task: str, uid: int, execution_id: bytes, decided: pb.Fire.Decided, trigger: Trigger
) -> None:
    command = context.command
    row = LedgerRow(
        last_nominal_us=decided.last_nominal_us,
        count=decided.count,
        decision=decided.decision,
        reason=decided.reason,
        trigger=trigger,
        decide_us=command.now_us,
        leader_id=command.leader_id,
        term=command.term,
        uid=uid,
    )
    context.batch.put(Table.LEDGER, ledger_key(task, decided.nominal_us, execution_id), row.SerializeToString())


def _run_task(context: _Context, body: pb.RunTask) -> pb.Outcome:
    found = context.batch.get(Table.TASKS, body.name.encode())
    if found is None:
        return _rejected(NOT_FOUND, f"there is no task named {body.name!r}")
    task = pb.TaskRow.FromString(found)
    now_us = context.command.now_us
    execution_id = ids.execution_id(task.uid, task.task.generation, now_us, be64(context.index))
    delivery = Delivery(task.task.delivery or Delivery.AT_LEAST_ONCE)
    row = _new_execution(context, body.name, task.uid, task.task.generation, delivery)
    row.trigger = Trigger.MANUAL
    row.nominal_us = now_us
    _place(context, execution_id, row, body.executor_id)
    ran = pb.Fire.Decided(nominal_us=now_us, last_nominal_us=now_us, count=1, decision=Decision.RAN)
    _write_ledger(context, body.name, task.uid, execution_id, ran, Trigger.MANUAL)
    return pb.Outcome(execution_id=execution_id)


# Attempts


def _assign(context: _Context, body: pb.Assign) -> pb.Outcome:
    for item in body.items:
        row = _execution(context, item.id)
        if row is None or row.state != ExecutionState.PENDING or row.attempt != item.expected_attempt:
            continue
        context.batch.delete(Table.PENDING, item.id)
        _place(context, item.id, row, item.executor_id)
    return pb.Outcome()


def _execution(context: _Context, execution_id: bytes) -> ExecutionRow | None:
    found = context.batch.get(Table.EXECUTIONS, execution_id)
    return None if found is None else ExecutionRow.FromString(found)


def _report(context: _Context, body: pb.Report) -> pb.Outcome:
    for item in body.items:
        row = _execution(context, item.id)
        if row is None or row.attempt != item.attempt or row.executor_id != item.executor_id:
            continue
        try:
            state = ExecutionState(item.state)
        except ValueError:
            continue
        if not may_follow(ExecutionState(row.state), state):
            continue
        if state == ExecutionState.LOST:
            _vanished(context, item.id, row, item.error)
        else:
            _take_report(context, item, row, state)
    return pb.Outcome()


def _take_report(context: _Context, item: pb.Report.Item, row: ExecutionRow, state: ExecutionState) -> None:
    row.start_us = item.start_us
    if state.ended:
        row.end_us = item.end_us
        row.error = item.error
        row.output_tail = item.output_tail
        row.output_size_bytes = item.output_size_bytes
        if item.HasField("exit_code"):
            row.exit_code = item.exit_code
        if item.HasField("http_status"):
            row.http_status = item.http_status
        _end(context, item.id, row, state)
    else:
        row.state = state
        _write_execution(context, item.id, row)


def _end(context: _Context, execution_id: bytes, row: ExecutionRow, state: ExecutionState) -> None:
    if row.state == ExecutionState.PENDING:
        context.batch.delete(Table.PENDING, execution_id)
    else:
        context.batch.delete(Table.ACTIVE, execution_id)
    row.state = state
    row.end_us = row.end_us or context.command.now_us
    if state != ExecutionState.SUCCEEDED:
        context.batch.put(Table.FAILURES, failure_key(state, execution_id), b"")
    _write_execution(context, execution_id, row)


def _expire(context: _Context, body: pb.Expire) -> pb.Outcome:
    for item in body.items:
        row = _execution(context, item.id)
        if row is None or row.attempt != item.expected_attempt:
            continue
        if row.state in (ExecutionState.ASSIGNED, ExecutionState.RUNNING):
            _vanished(context, item.id, row, item.reason)
    return pb.Outcome()


def _vanished(context: _Context, execution_id: bytes, row: ExecutionRow, reason: str) -> None:
    """The executor of the current attempt is gone, and nobody can tell how far it got."""
    row.error = reason
    if row.cancel_requested:
        _end(context, execution_id, row, ExecutionState.CANCELLED)
    elif row.delivery == Delivery.AT_MOST_ONCE or row.attempt >= MAX_ATTEMPTS:
        _end(context, execution_id, row, ExecutionState.LOST)
    else:
        context.batch.delete(Table.ACTIVE, execution_id)
        row.attempt += 1
        row.start_us = 0
        row.executor_id = ""
        _place(context, execution_id, row, "")


def _cancel_execution(context: _Context, body: pb.CancelExecution) -> pb.Outcome:
    row = _execution(context, body.id)
    if row is None:
        return _rejected(NOT_FOUND, "there is no such execution")
    state = ExecutionState(row.state)
    if state.ended:
        return _rejected(FAILED_PRECONDITION, f"the execution has already ended as {state.name}")
    if state == ExecutionState.PENDING:
        row.error = body.reason or "cancelled before it was given to an executor"
        _end(context, body.id, row, ExecutionState.CANCELLED)
    else:
        row.cancel_requested = True
        _write_execution(context, body.id, row)
    return pb.Outcome(execution_id=body.id)


# Retention


def _retire(context: _Context, body: pb.Retire) -> pb.Outcome:
    batch = context.batch
    for execution_id in body.execution_ids:
        row = _execution(context, execution_id)
        if row is not None and ExecutionState(row.state).ended:
            batch.delete(Table.EXECUTIONS, execution_id)
            batch.delete(Table.FAILURES, failure_key(row.state, execution_id))
    for key in body.ledger_keys:
        batch.delete(Table.LEDGER, key)
    for key in body.request_expiry_keys:
        batch.delete(Table.REQUEST_EXPIRY, key)
        batch.delete(Table.REQUESTS, key[8:])
    return pb.Outcome()


_HANDLERS: dict[str, Callable[[_Context, Any], pb.Outcome]] = {
    "register_tasks": _register_tasks,
    "replace_task": _replace_task,
    "delete_task": _delete_task,
    "run_task": _run_task,
    "cancel_execution": _cancel_execution,
    "fire": _fire,
    "assign": _assign,
    "report": _report,
    "expire": _expire,
    "retire": _retire,
}
