"""Executions that were decided ahead of their nominal time: armed on an executor, withdrawn from it, given back by it.

Only the executor knows whether it has started what it holds. So what is withdrawn stays armed until it says, or until
its lease is over.
"""

from collections.abc import Collection, Iterable, Iterator

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import policy_pb2

from raftsched.core.machine.admission import admit
from raftsched.core.machine.context import Context
from raftsched.core.machine.ending import end, end_lost
from raftsched.core.machine.ledger import amend_ledger, write_ledger
from raftsched.core.machine.placement import find_execution, new_execution, place, put_off, take_out, write_execution
from raftsched.core.machine.terms import terms_of
from raftsched.core.state import ids
from raftsched.core.state.model import SECOND_US, Decision, Delivery, ExecutionState, Trigger, Withdrawal
from raftsched.core.state.rows import ExecutionRow, LedgerRow, ledger_key, ledger_key_after_task, parse_ledger_key
from raftsched.ports import Table

PAUSED = "the task was paused"
_LOOK_BACK_US = 900 * SECOND_US
"""What may still be armed was decided for a nominal time that is no older: the longest lease is 600 s."""
_MAX_ENTRIES = 20_000
"""Ledger entries of one task that are looked at. More of them lie within a lease only where it fires all the time."""


def withdraw(context: Context, row: pb.TaskRow, reason: str, kept_us: Collection[int] | None = ()) -> list[bytes]:
    """Withdraw what was decided ahead of a task whose row has just been changed; returns the ids of what is armed.

    What has not started is to run on the new terms where its nominal time is among ``kept_us`` (None: all are), and is
    skipped for that reason where it is not. What was given back, and waits for its time, is so at once.
    """
    withdrawn = []
    for execution_id, execution in list(_decided_ahead(context, row)):
        is_kept = kept_us is None or execution.nominal_us in kept_us
        if execution.state == ExecutionState.PENDING:
            if is_kept:
                _renew_terms(context, execution)
                write_execution(context, execution_id, execution)
            else:
                _skip(context, execution_id, execution, reason)
            continue
        if is_kept:
            execution.withdrawn = execution.withdrawn or Withdrawal.AGAIN
        else:
            execution.withdrawn = Withdrawal.SKIP
            execution.result.error = reason
        write_execution(context, execution_id, execution)
        withdrawn.append(execution_id)
    return withdrawn


def _decided_ahead(context: Context, row: pb.TaskRow) -> Iterator[tuple[bytes, ExecutionRow]]:
    """Executions of a task that are armed, or were given back before their time; latest nominal time first."""
    name, now_us = row.task.name, context.command.now_us
    entries = context.batch.scan(Table.LEDGER, name.encode() + b"\0", ledger_key_after_task(name), reverse=True)
    for looked_at, (key, _) in enumerate(entries):
        _, nominal_us, execution_id = parse_ledger_key(key)
        if nominal_us < now_us - _LOOK_BACK_US or looked_at >= _MAX_ENTRIES:
            return
        if all(context.batch.get(table, execution_id) is None for table in (Table.ACTIVE, Table.HELD)):
            continue
        execution = find_execution(context, execution_id)
        if execution is None or execution.uid != row.uid:
            continue
        is_given_back = execution.state == ExecutionState.PENDING and execution.not_before_us == nominal_us > now_us
        if execution.state == ExecutionState.ARMED or is_given_back:
            yield execution_id, execution


def _skip(context: Context, execution_id: bytes, row: ExecutionRow, reason: str) -> None:
    """It has not started, and never will: its nominal time is a skipped one."""
    row.withdrawn = Withdrawal.NONE
    row.result.error = reason
    amend_ledger(context, execution_id, row, Decision.SKIPPED, reason)
    end(context, execution_id, row, ExecutionState.CANCELLED, is_told=False)


def decide_kept(context: Context, row: pb.TaskRow, kept_us: Iterable[int]) -> None:
    """Decide the nominal times of a new schedule that lie before what the one before had decided ahead.

    What was decided is kept; of the others an execution waits for its time, unless the task is paused.
    """
    item = terms_of(row)
    for nominal_us in kept_us:
        if _is_decided(context, row, nominal_us):
            continue
        execution_id = ids.execution_id(item.uid, item.generation, nominal_us)
        decided = pb.Fire.Decided(nominal_us=nominal_us, last_nominal_us=nominal_us, count=1, start_us=nominal_us)
        if row.task.paused:
            decided.decision, decided.reason = Decision.SKIPPED, PAUSED
        elif row.task.placement == policy_pb2.PLACEMENT_EVERY:
            # Who is to run it is asked when its time comes, and that is the leader's to ask.
            decided.decision, decided.reason = Decision.SKIPPED, "the schedule was replaced shortly before"
        else:
            decided.decision = Decision.RAN
            admit(context, item, decided, execution_id, new_execution(context, item, Trigger.SCHEDULE, nominal_us))
        write_ledger(context, item, execution_id, decided, Trigger.SCHEDULE)


def _is_decided(context: Context, row: pb.TaskRow, nominal_us: int) -> bool:
    start = ledger_key(row.task.name, nominal_us, b"")
    entries = map(
        LedgerRow.FromString, (value for _, value in context.batch.scan(Table.LEDGER, start, start + b"\xff" * 17))
    )
    return any(entry.uid == row.uid and entry.trigger == Trigger.SCHEDULE for entry in entries)


def _renew_terms(context: Context, execution: ExecutionRow) -> None:
    """Have an execution wait on the terms that its task has now."""
    found = context.batch.get(Table.TASKS, execution.task.encode())
    row = pb.TaskRow() if found is None else pb.TaskRow.FromString(found)
    if row.uid != execution.uid:
        return
    terms = terms_of(row)
    execution.delivery = terms.delivery or Delivery.AT_LEAST_ONCE
    execution.priority, execution.group, execution.notifies = terms.priority, terms.group, terms.notifies
    execution.start_by_us = execution.nominal_us + terms.start_deadline_us if terms.start_deadline_us else 0


def give_back(context: Context, item: pb.Report.Item, row: ExecutionRow) -> None:
    """An executor says that it holds the attempt no longer, and has not started it.

    The fencing token tells a word about this assignment from one about an earlier assignment of the same attempt.
    """
    if row.state != ExecutionState.ARMED or row.fencing_token != item.fencing_token:
        return
    if row.cancel_requested:
        end(context, item.id, row, ExecutionState.CANCELLED)
    elif row.withdrawn == Withdrawal.SKIP:
        _skip(context, item.id, row, row.result.error)
    else:
        take_out(context, item.id, row)
        if row.withdrawn:
            _renew_terms(context, row)
        row.withdrawn = Withdrawal.NONE
        row.executor_id = ""
        if row.nominal_us > context.command.now_us:
            put_off(context, item.id, row, row.nominal_us)
        else:
            place(context, item.id, row, "")


def started(row: ExecutionRow) -> None:
    """It has started, or has even ended: to withdraw it came too late."""
    if row.withdrawn == Withdrawal.SKIP:
        row.result.ClearField("error")
    row.withdrawn = Withdrawal.NONE


def vanished(context: Context, execution_id: bytes, row: ExecutionRow, reason: str) -> bool:
    """Whether the loss of its executor is the end of an execution, for it is not to run again once it is withdrawn."""
    is_over = row.withdrawn == Withdrawal.SKIP
    row.withdrawn = Withdrawal.NONE
    if is_over:
        row.result.error = f"{row.result.error}; whether it had started is not known: {reason}"
        end_lost(context, execution_id, row)
    return is_over
