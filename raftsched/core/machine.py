"""The replicated state machine: what each command does to the tables.

``apply`` is total: a bad command gives a rejected outcome, and it reads no clock, no time zone and no random source, so
that every node that applies the same log has the same tables. Only a broken invariant of our own raises, which stops
the node before it can diverge.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from google.protobuf.message import DecodeError
from raftsched_client.v1 import task_pb2

from raftsched.core import ids, overlap, retry
from raftsched.core.lifecycle import MAX_ATTEMPTS, may_follow
from raftsched.core.model import HIGHEST_PRIORITY, SECOND_US, Decision, Delivery, ExecutionState, OverlapPolicy, Trigger
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
    open_key,
    queue_key,
    rank_key,
    retry_from_proto,
    timer_key,
    timestamp_us,
)
from raftsched.core.wellformed import MAX_US, command_problem, is_task
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Batch, Table

COMMAND_VERSION = 1
REQUEST_MEMORY_US = 3600 * 1_000_000
"""How long the outcome of a request id is remembered."""
MAX_BATCH_TASKS = 10_000
MAX_PAST_ATTEMPTS = 10
"""How many attempts before the current one an execution remembers."""
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
    for decided in item.decided:
        execution_id = ids.execution_id(item.uid, item.generation, decided.nominal_us)
        if decided.decision == Decision.RAN:
            _admit(context, item, decided, execution_id)
        _write_ledger(context, item.task, item.uid, execution_id, decided, Trigger.SCHEDULE)


def _admit(context: _Context, item: pb.Fire.Item, decided: pb.Fire.Decided, execution_id: bytes) -> None:
    """Start, queue or skip a nominal time that is to run, by the overlap policy and what is open at this entry.

    Only the tables know what is open: the proposer may have other fires and reports under way.
    """
    policy = OverlapPolicy(item.overlap_policy or OverlapPolicy.ALLOW)
    delivery = Delivery(item.delivery or Delivery.AT_LEAST_ONCE)
    row = _new_execution(context, item.task, item.uid, item.generation, delivery)
    row.trigger = Trigger.SCHEDULE
    row.nominal_us = decided.nominal_us
    row.priority = item.priority
    if item.start_deadline_us:
        row.start_by_us = row.nominal_us + item.start_deadline_us
        if row.start_by_us <= context.command.now_us:
            decided.decision = Decision.SKIPPED
            decided.reason = _expiry_reason(row)
            return
    if policy is not OverlapPolicy.ALLOW:
        row.max_running = overlap.limit(item.max_running)
        if policy is OverlapPolicy.CANCEL_RUNNING:
            _make_room(context, row)
        running, queued = _open(context, item.uid), _queue(context, item.uid)
        admission = overlap.admit(policy, row.max_running, item.max_queued, len(running), len(queued))
        decided.reason = "; ".join(filter(None, (decided.reason, admission.reason)))
        if admission.verdict is overlap.Verdict.SKIP:
            decided.decision = Decision.SKIPPED
            return
        if admission.verdict is overlap.Verdict.QUEUE:
            row.state = ExecutionState.PENDING
            row.queued = True
            context.batch.put(Table.OPEN, queue_key(item.uid, execution_id), b"")
            context.batch.put(Table.HELD, execution_id, b"")
            _set_deadline(context, execution_id, row)
            _write_execution(context, execution_id, row)
            return
        context.batch.put(Table.OPEN, open_key(item.uid, execution_id), b"")
    if decided.start_us > context.command.now_us:
        _put_off(context, execution_id, row, decided.start_us)
    else:
        _place(context, execution_id, row, decided.executor_id)


def _put_off(context: _Context, execution_id: bytes, row: ExecutionRow, due_us: int) -> None:
    """Leave an execution pending that no executor may be given before ``due_us``."""
    row.state = ExecutionState.PENDING
    row.not_before_us = due_us
    context.batch.put(Table.HELD, execution_id, b"")
    context.batch.put(Table.TIMERS, timer_key(due_us, execution_id), b"")
    _write_execution(context, execution_id, row)


def _open(context: _Context, uid: int) -> list[bytes]:
    """Open executions of a task that are not queued, oldest first; as many as can matter."""
    return _ids_between(context, open_key(uid, b""), queue_key(uid, b""))


def _queue(context: _Context, uid: int) -> list[bytes]:
    """Queued executions of a task, oldest first; as many as can matter."""
    return _ids_between(context, queue_key(uid, b""), be64(uid) + b"\2")


def _ids_between(context: _Context, start: bytes, stop: bytes) -> list[bytes]:
    rows = islice(context.batch.scan(Table.OPEN, start, stop), overlap.LARGEST_LIMIT)
    return [key[len(start) :] for key, _ in rows]


def _make_room(context: _Context, newcomer: ExecutionRow) -> None:
    """Cancel what waits in the queue, and of the open executions the oldest, so that one more may run when they end."""
    reason = overlap.cancel_reason(newcomer.nominal_us)
    running = _open(context, newcomer.uid)
    surplus = running[: max(0, len(running) + 1 - newcomer.max_running)]
    for execution_id in _queue(context, newcomer.uid) + surplus:
        row = _execution(context, execution_id)
        if row is not None and not ExecutionState(row.state).ended and not row.cancel_requested:
            _cancel(context, execution_id, row, reason)


def _promote(context: _Context, uid: int) -> None:
    """Let queued executions of a task go on, as far as there is room."""
    running = len(_open(context, uid))
    for execution_id in _queue(context, uid):
        row = _execution(context, execution_id)
        if row is None or not row.queued:
            context.batch.delete(Table.OPEN, queue_key(uid, execution_id))
            continue
        if running >= row.max_running:
            return
        running += 1
        _take_out(context, execution_id, row)
        row.queued = False
        context.batch.put(Table.OPEN, open_key(uid, execution_id), b"")
        _place(context, execution_id, row, "")


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
        if row.priority:
            context.batch.put(Table.RANKED, rank_key(row.priority, execution_id), b"")
            context.batch.put(Table.HELD, execution_id, b"")
        else:
            context.batch.put(Table.PENDING, execution_id, b"")
        _set_deadline(context, execution_id, row)
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
    row.priority = min(max(-HIGHEST_PRIORITY, task.task.priority), HIGHEST_PRIORITY)
    start_deadline_us = timestamp_us(task.task.start_deadline)
    if 0 < start_deadline_us < MAX_US:
        row.start_by_us = now_us + start_deadline_us
    if task.task.overlap_policy > OverlapPolicy.ALLOW:
        row.max_running = overlap.limit(task.task.max_running)
        context.batch.put(Table.OPEN, open_key(task.uid, execution_id), b"")
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
        if row.queued or row.not_before_us:
            continue
        _take_out(context, item.id, row)
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
        is_news = state is ExecutionState.RUNNING or state.ended
        if not is_news or not may_follow(ExecutionState(row.state), state):
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
        # The executor does not know why it was told to cancel.
        if state != ExecutionState.CANCELLED or not row.error:
            row.error = item.error
        row.output_tail = item.output_tail
        row.output_size_bytes = item.output_size_bytes
        if item.HasField("exit_code"):
            row.exit_code = item.exit_code
        if item.HasField("http_status"):
            row.http_status = item.http_status
        wait_us = _wait_us(context, item, row, state)
        if wait_us:
            _again(context, item.id, row, state, context.command.now_us + wait_us)
        else:
            _end(context, item.id, row, state)
    else:
        row.state = state
        _write_execution(context, item.id, row)


def _wait_us(context: _Context, item: pb.Report.Item, row: ExecutionRow, state: ExecutionState) -> int:
    """How long the next attempt waits after one that ended so; 0: none follows."""
    if state not in retry.RETRIED_STATES or row.cancel_requested:
        return 0
    policy = _retry_policy(context, row)
    exit_code = row.exit_code if row.HasField("exit_code") else None
    http_status = row.http_status if row.HasField("http_status") else None
    if policy is None or not retry.follows(policy, row.attempt, state, exit_code, http_status):
        return 0
    return retry.backoff_us(policy, row.attempt, item.jitter_ppm)


def _retry_policy(context: _Context, row: ExecutionRow) -> retry.RetryPolicy | None:
    """The policy of the task as it stands; none when the task has been deleted."""
    found = context.batch.get(Table.TASKS, row.task.encode())
    task = pb.TaskRow() if found is None else pb.TaskRow.FromString(found)
    return retry_from_proto(task.task.retry) if task.uid == row.uid and task.task.HasField("retry") else None


def _again(context: _Context, execution_id: bytes, row: ExecutionRow, ended: ExecutionState, due_us: int) -> None:
    """Let the next attempt follow one that ended, at ``due_us``, or as soon as may be when that is 0."""
    past = row.past_attempts.add(
        attempt=row.attempt,
        state=ended,
        executor_id=row.executor_id,
        start_us=row.start_us,
        end_us=row.end_us or context.command.now_us,
        error=row.error,
    )
    if row.HasField("exit_code"):
        past.exit_code = row.exit_code
    if row.HasField("http_status"):
        past.http_status = row.http_status
    del row.past_attempts[:-MAX_PAST_ATTEMPTS]
    _take_out(context, execution_id, row)
    row.attempt += 1
    row.start_by_us = 0
    for field_name in ("start_us", "end_us", "exit_code", "http_status", "executor_id", "output_tail"):
        row.ClearField(field_name)
    row.output_size_bytes = 0
    if due_us:
        _put_off(context, execution_id, row, due_us)
    else:
        _place(context, execution_id, row, "")


def _wake(context: _Context, body: pb.Wake) -> pb.Outcome:
    for item in body.items:
        context.batch.delete(Table.TIMERS, timer_key(item.due_us, item.id))
        row = _execution(context, item.id)
        if row is None or row.state != ExecutionState.PENDING:
            continue
        if row.not_before_us == item.due_us > 0:
            _take_out(context, item.id, row)
            row.not_before_us = 0
            _place(context, item.id, row, "")
        elif row.start_by_us == item.due_us > 0:
            _end_expired(context, item.id, row)
    return pb.Outcome()


def _set_deadline(context: _Context, execution_id: bytes, row: ExecutionRow) -> None:
    if row.start_by_us:
        context.batch.put(Table.TIMERS, timer_key(row.start_by_us, execution_id), b"")


def _expiry_reason(row: ExecutionRow) -> str:
    deadline_s = (row.start_by_us - row.nominal_us) / SECOND_US
    return f"could not be given to an executor within its start deadline of {deadline_s:g} s"


def _end_expired(context: _Context, execution_id: bytes, row: ExecutionRow) -> None:
    """It never started, so that its nominal time is a skipped one."""
    row.error = _expiry_reason(row)
    key = ledger_key(row.task, row.nominal_us, execution_id)
    found = context.batch.get(Table.LEDGER, key)
    if found is not None:
        entry = LedgerRow.FromString(found)
        entry.decision = Decision.SKIPPED
        entry.reason = "; ".join(filter(None, (entry.reason, row.error)))
        entry.expired = True
        context.batch.put(Table.LEDGER, key, entry.SerializeToString())
    _end(context, execution_id, row, ExecutionState.EXPIRED)


def _take_out(context: _Context, execution_id: bytes, row: ExecutionRow) -> None:
    """Remove an execution from the index that its state and its fields put it in."""
    batch = context.batch
    if row.state != ExecutionState.PENDING:
        batch.delete(Table.ACTIVE, execution_id)
        return
    if row.start_by_us:
        batch.delete(Table.TIMERS, timer_key(row.start_by_us, execution_id))
    if row.queued:
        batch.delete(Table.HELD, execution_id)
        batch.delete(Table.OPEN, queue_key(row.uid, execution_id))
    elif row.not_before_us:
        batch.delete(Table.HELD, execution_id)
        batch.delete(Table.TIMERS, timer_key(row.not_before_us, execution_id))
    elif row.priority:
        batch.delete(Table.HELD, execution_id)
        batch.delete(Table.RANKED, rank_key(row.priority, execution_id))
    else:
        batch.delete(Table.PENDING, execution_id)


def _end(context: _Context, execution_id: bytes, row: ExecutionRow, state: ExecutionState) -> None:
    _take_out(context, execution_id, row)
    row.queued = False
    row.not_before_us = 0
    row.start_by_us = 0
    row.state = state
    row.end_us = row.end_us or context.command.now_us
    if state != ExecutionState.SUCCEEDED:
        context.batch.put(Table.FAILURES, failure_key(state, execution_id), b"")
    _write_execution(context, execution_id, row)
    if row.max_running:
        context.batch.delete(Table.OPEN, open_key(row.uid, execution_id))
        _promote(context, row.uid)


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
    elif row.delivery == Delivery.AT_MOST_ONCE or _vanished_too_often(context, row):
        _end(context, execution_id, row, ExecutionState.LOST)
    else:
        _again(context, execution_id, row, ExecutionState.LOST, 0)


def _vanished_too_often(context: _Context, row: ExecutionRow) -> bool:
    if row.attempt < MAX_ATTEMPTS:
        return False
    policy = _retry_policy(context, row)
    return policy is None or row.attempt >= policy.max_attempts


def _cancel_execution(context: _Context, body: pb.CancelExecution) -> pb.Outcome:
    row = _execution(context, body.id)
    if row is None:
        return _rejected(NOT_FOUND, "there is no such execution")
    state = ExecutionState(row.state)
    if state.ended:
        return _rejected(FAILED_PRECONDITION, f"the execution has already ended as {state.name}")
    _cancel(context, body.id, row, body.reason)
    return pb.Outcome(execution_id=body.id)


def _cancel(context: _Context, execution_id: bytes, row: ExecutionRow, reason: str) -> None:
    """End a pending execution; ask for the end of one that an executor has."""
    if row.state == ExecutionState.PENDING:
        row.error = reason or (
            f"cancelled while it waited for attempt {row.attempt}"
            if row.not_before_us
            else "cancelled before it was given to an executor"
        )
        _end(context, execution_id, row, ExecutionState.CANCELLED)
    else:
        row.error = reason
        row.cancel_requested = True
        _write_execution(context, execution_id, row)


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
    "wake": _wake,
}
