"""How an execution ends, or is asked to."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.context import FAILED_PRECONDITION, NOT_FOUND, Context, rejected
from raftsched.core.machine.ledger import amend_ledger, expiry_reason
from raftsched.core.machine.placement import find_execution, take_out, write_execution
from raftsched.core.machine.queueing import leave_open
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.rows import ExecutionRow, failure_key
from raftsched.ports import Table

_SUCCEEDED = ExecutionState.SUCCEEDED
"""Looked up once, for it is asked about every end."""


def end(
    context: Context, execution_id: bytes, row: ExecutionRow, state: ExecutionState, *, is_told: bool = True
) -> None:
    """End an execution, and let the queue of its task move up. ``is_told``: what runs after its task learns of it."""
    take_out(context, execution_id, row)
    row.queued = False
    row.not_before_us = 0
    row.start_by_us = 0
    row.state = state
    result = row.result
    if not result.end_us:
        result.end_us = context.command.now_us
    if state is not _SUCCEEDED:
        context.batch.put(Table.FAILURES, failure_key(state, execution_id), b"")
    write_execution(context, execution_id, row)
    if is_told:
        context.ended.append((execution_id, row))
    context.ended_ids.add(execution_id)
    if row.max_running or row.backfill_max_running:
        leave_open(context, execution_id, row)


def end_expired(context: Context, execution_id: bytes, row: ExecutionRow) -> None:
    """It never started, so that its nominal time is a skipped one; a later attempt that never did is a lost one."""
    row.result.error = expiry_reason(row)
    if row.attempt > 1:
        end_lost(context, execution_id, row)
        return
    amend_ledger(context, execution_id, row, Decision.SKIPPED, row.result.error)
    end(context, execution_id, row, ExecutionState.EXPIRED)


def end_lost(context: Context, execution_id: bytes, row: ExecutionRow) -> None:
    """Its executor vanished, and it may not be run again."""
    amend_ledger(context, execution_id, row, Decision.LOST, row.result.error)
    end(context, execution_id, row, ExecutionState.LOST)


def cancel(context: Context, execution_id: bytes, row: ExecutionRow, reason: str) -> None:
    """End a pending execution; ask for the end of one that an executor has."""
    if row.state == ExecutionState.PENDING:
        row.result.error = reason or (
            f"cancelled while it waited for attempt {row.attempt}"
            if row.not_before_us
            else "cancelled before it was given to an executor"
        )
        end(context, execution_id, row, ExecutionState.CANCELLED)
    else:
        row.result.error = reason
        row.cancel_requested = True
        write_execution(context, execution_id, row)


def cancel_execution(context: Context, body: pb.CancelExecution) -> pb.Outcome:
    """End or ask for the end of one execution, as its user wants."""
    row = find_execution(context, body.id)
    if row is None:
        return rejected(NOT_FOUND, "there is no such execution")
    state = ExecutionState(row.state)
    if state.ended:
        return rejected(FAILED_PRECONDITION, f"the execution has already ended as {state.name}")
    cancel(context, body.id, row, body.reason)
    return pb.Outcome(execution_id=body.id)
