"""The command that removes what is no longer kept."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.chains import retire_rounds
from raftsched.core.machine.context import Context
from raftsched.core.machine.placement import find_execution
from raftsched.core.state import past_attempts
from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import RETENTION_TIME_KEY, be64, failure_key
from raftsched.ports import Table


def retire(context: Context, body: pb.Retire) -> pb.Outcome:
    """Remove ended executions, ledger entries and remembered requests that retention no longer keeps."""
    batch = context.batch
    for execution_id in body.execution_ids:
        row = find_execution(context, execution_id)
        if row is not None and ExecutionState(row.state).ended:
            past_attempts.forget(batch, execution_id, row)
            batch.delete(Table.EXECUTIONS, execution_id)
            batch.delete(Table.FAILURES, failure_key(row.state, execution_id))
    for key in body.ledger_keys:
        batch.delete(Table.LEDGER, key)
    for key in body.task_change_keys:
        batch.delete(Table.TASK_CHANGES, key)
    for key in body.request_expiry_keys:
        batch.delete(Table.REQUEST_EXPIRY, key)
        batch.delete(Table.REQUESTS, key[8:])
    if body.time_us:
        batch.put(Table.META, RETENTION_TIME_KEY, be64(body.time_us))
    retire_rounds(context, iter(body.round_keys))
    return pb.Outcome()
