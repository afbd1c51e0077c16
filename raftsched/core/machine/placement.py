"""Where an execution stands: its row, and the index that its state and its fields put it in."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.context import Context
from raftsched.core.machine.groups import acquire, release
from raftsched.core.machine.numbers import next_token
from raftsched.core.state.model import SECOND_US, Delivery, ExecutionState, Trigger
from raftsched.core.state.rows import (
    ExecutionRow,
    active_value,
    backfill_queue_key,
    grouped_key,
    queue_key,
    rank_key,
    timer_key,
)
from raftsched.ports import Table

# Plain numbers: see EXECUTION_STATES.
_PENDING, _ARMED, _AT_LEAST_ONCE = int(ExecutionState.PENDING), int(ExecutionState.ARMED), int(Delivery.AT_LEAST_ONCE)
PIN_WAIT_US = 600 * SECOND_US
"""How long an attempt that only one executor may take waits for it, unless its start deadline says."""


def new_execution(context: Context, item: pb.Fire.Item, trigger: Trigger, nominal_us: int) -> ExecutionRow:
    """The row of an execution that is being decided, without its place."""
    deadline_us, priority, notifies, group = item.start_deadline_us, item.priority, item.notifies, item.group
    terms = (nominal_us, item.generation, trigger, item.delivery, deadline_us, priority, notifies, group)
    alike = context.executions_alike.get(terms)
    if alike is None:
        command = context.command
        alike = context.executions_alike[terms] = ExecutionRow(
            generation=item.generation,
            trigger=trigger,
            nominal_us=nominal_us,
            attempt=1,
            fire_us=command.now_us,
            leader_id=command.leader_id,
            term=command.term,
            delivery=item.delivery or _AT_LEAST_ONCE,
            start_by_us=nominal_us + deadline_us if deadline_us else 0,
            priority=priority,
            notifies=notifies,
            group=group,
        )
    row = ExecutionRow()
    row.CopyFrom(alike)
    row.task, row.uid = item.task, item.uid
    return row


def find_execution(context: Context, execution_id: bytes) -> ExecutionRow | None:
    """The row of an execution; None when there is none."""
    found = context.batch.get(Table.EXECUTIONS, execution_id)
    return None if found is None else ExecutionRow.FromString(found)


def write_execution(context: Context, execution_id: bytes, row: ExecutionRow) -> None:
    """Write a row, and tell those who watch."""
    context.batch.put(Table.EXECUTIONS, execution_id, row.SerializeToString())
    context.applied.executions.append((execution_id, row))


def place(context: Context, execution_id: bytes, row: ExecutionRow, executor_id: str) -> None:
    """Give a new or pending execution to an executor, or leave it pending when none is named."""
    if executor_id and (not row.group or acquire(context, row.group, execution_id)):
        row.state = ExecutionState.ASSIGNED
        row.executor_id = executor_id
        row.fencing_token = next_token(context)
        context.batch.put(Table.ACTIVE, execution_id, active_value(row.attempt, executor_id))
    else:
        row.state = ExecutionState.PENDING
        row.executor_id = ""
        if row.group:
            context.batch.put(Table.GROUPED, grouped_key(row.group, row.priority, execution_id), b"")
            context.batch.put(Table.HELD, execution_id, b"")
        elif row.priority:
            context.batch.put(Table.RANKED, rank_key(row.priority, execution_id), b"")
            context.batch.put(Table.HELD, execution_id, b"")
        else:
            context.batch.put(Table.PENDING, execution_id, b"")
        if row.pinned_executor_id and not row.start_by_us:
            # Nobody else may take it, and its executor may never return.
            row.start_by_us = context.command.now_us + PIN_WAIT_US
        set_deadline(context, execution_id, row)
    write_execution(context, execution_id, row)


def start(context: Context, execution_id: bytes, row: ExecutionRow, decided: pb.Fire.Decided) -> None:
    """Place a new execution, now or when its decision says."""
    if decided.armed and row.nominal_us > context.command.now_us:
        _arm(context, execution_id, row, decided.executor_id)
    elif decided.start_us > context.command.now_us:
        put_off(context, execution_id, row, decided.start_us)
    else:
        place(context, execution_id, row, decided.executor_id)


def _arm(context: Context, execution_id: bytes, row: ExecutionRow, executor_id: str) -> None:
    """Give a new execution to an executor that starts it at its nominal time."""
    row.state = _ARMED
    row.executor_id = executor_id
    row.fencing_token = next_token(context)
    context.batch.put(Table.ACTIVE, execution_id, active_value(row.attempt, executor_id))
    write_execution(context, execution_id, row)


def put_off(context: Context, execution_id: bytes, row: ExecutionRow, due_us: int) -> None:
    """Leave an execution pending that no executor may be given before ``due_us``."""
    row.state = ExecutionState.PENDING
    row.not_before_us = due_us
    context.batch.put(Table.HELD, execution_id, b"")
    context.batch.put(Table.TIMERS, timer_key(due_us, execution_id), b"")
    write_execution(context, execution_id, row)


def set_deadline(context: Context, execution_id: bytes, row: ExecutionRow) -> None:
    """Have a pending execution woken at its start deadline, if it has one."""
    if row.start_by_us:
        context.batch.put(Table.TIMERS, timer_key(row.start_by_us, execution_id), b"")


def take_out(context: Context, execution_id: bytes, row: ExecutionRow) -> None:
    """Remove an execution from the index that its state and its fields put it in."""
    batch = context.batch
    if row.state != _PENDING:
        batch.delete(Table.ACTIVE, execution_id)
        if row.group:
            release(context, row.group)
        return
    if row.start_by_us:
        batch.delete(Table.TIMERS, timer_key(row.start_by_us, execution_id))
    if row.queued:
        batch.delete(Table.HELD, execution_id)
        key = backfill_queue_key if row.backfill_max_running else queue_key
        batch.delete(Table.OPEN, key(row.uid, execution_id))
    elif row.not_before_us:
        batch.delete(Table.HELD, execution_id)
        batch.delete(Table.TIMERS, timer_key(row.not_before_us, execution_id))
    elif row.group:
        batch.delete(Table.HELD, execution_id)
        batch.delete(Table.GROUPED, grouped_key(row.group, row.priority, execution_id))
    elif row.priority:
        batch.delete(Table.HELD, execution_id)
        batch.delete(Table.RANKED, rank_key(row.priority, execution_id))
    else:
        batch.delete(Table.PENDING, execution_id)
