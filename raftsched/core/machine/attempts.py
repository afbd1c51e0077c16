"""Commands about the attempts of executions: who gets them, what executors said, and what follows."""

from raftsched.core import retry
from raftsched.core.lifecycle import MAX_ATTEMPTS, may_follow
from raftsched.core.machine.context import Context
from raftsched.core.machine.ending import end, end_expired, end_lost
from raftsched.core.machine.placement import find_execution, place, put_off, take_out, write_execution
from raftsched.core.model import Delivery, ExecutionState
from raftsched.core.rows import ExecutionRow, retry_from_proto, timer_key
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Table

MAX_PAST_ATTEMPTS = 10
"""How many attempts before the current one an execution remembers."""


def assign(context: Context, body: pb.Assign) -> pb.Outcome:
    """Give pending executions to the executors that the leader chose, unless they have moved on since."""
    for item in body.items:
        row = find_execution(context, item.id)
        if row is None or row.state != ExecutionState.PENDING or row.attempt != item.expected_attempt:
            continue
        if row.queued or row.not_before_us or row.pinned_executor_id not in ("", item.executor_id):
            continue
        take_out(context, item.id, row)
        place(context, item.id, row, item.executor_id)
    return pb.Outcome()


def report(context: Context, body: pb.Report) -> pb.Outcome:
    """Take what executors said about their current attempts; what is not news is dropped."""
    for item in body.items:
        row = find_execution(context, item.id)
        if row is None or row.attempt != item.attempt or row.executor_id != item.executor_id:
            continue
        if item.output_copy_node_id:
            row.output_copy_node_id = item.output_copy_node_id
            write_execution(context, item.id, row)
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


def _take_report(context: Context, item: pb.Report.Item, row: ExecutionRow, state: ExecutionState) -> None:
    row.start_us = item.start_us
    if state.ended:
        row.end_us = item.end_us
        # The executor does not know why it was told to cancel.
        if state != ExecutionState.CANCELLED or not row.error:
            row.error = item.error
        row.output_tail = item.output_tail
        row.output_size_bytes = item.output_size_bytes
        row.output_sha256 = item.output_sha256
        row.output_stored_bytes = item.output_stored_bytes
        if item.HasField("exit_code"):
            row.exit_code = item.exit_code
        if item.HasField("http_status"):
            row.http_status = item.http_status
        wait_us = _wait_us(context, item, row, state)
        if wait_us:
            _again(context, item.id, row, state, context.command.now_us + wait_us)
        else:
            end(context, item.id, row, state)
    else:
        row.state = state
        write_execution(context, item.id, row)


def _wait_us(context: Context, item: pb.Report.Item, row: ExecutionRow, state: ExecutionState) -> int:
    """How long the next attempt waits after one that ended so; 0: none follows."""
    if state not in retry.RETRIED_STATES or row.cancel_requested:
        return 0
    policy = _retry_policy(context, row)
    exit_code = row.exit_code if row.HasField("exit_code") else None
    http_status = row.http_status if row.HasField("http_status") else None
    if policy is None or not retry.follows(policy, row.attempt, state, exit_code, http_status):
        return 0
    return retry.backoff_us(policy, row.attempt, item.jitter_ppm)


def _retry_policy(context: Context, row: ExecutionRow) -> retry.RetryPolicy | None:
    """The policy of the task as it stands; none when the task has been deleted."""
    found = context.batch.get(Table.TASKS, row.task.encode())
    task = pb.TaskRow() if found is None else pb.TaskRow.FromString(found)
    return retry_from_proto(task.task.retry) if task.uid == row.uid and task.task.HasField("retry") else None


def _again(context: Context, execution_id: bytes, row: ExecutionRow, ended: ExecutionState, due_us: int) -> None:
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
    take_out(context, execution_id, row)
    row.attempt += 1
    row.start_by_us = 0
    for field_name in (
        "start_us",
        "end_us",
        "exit_code",
        "http_status",
        "executor_id",
        "output_tail",
        "output_size_bytes",
        "output_sha256",
        "output_stored_bytes",
        "output_copy_node_id",
    ):
        row.ClearField(field_name)
    if due_us:
        put_off(context, execution_id, row, due_us)
    else:
        place(context, execution_id, row, "")


def expire(context: Context, body: pb.Expire) -> pb.Outcome:
    """Take attempts back from executors whose lease ran out, unless the attempts have moved on since."""
    for item in body.items:
        row = find_execution(context, item.id)
        if row is None or row.attempt != item.expected_attempt:
            continue
        if row.state in (ExecutionState.ASSIGNED, ExecutionState.RUNNING):
            _vanished(context, item.id, row, item.reason)
    return pb.Outcome()


def _vanished(context: Context, execution_id: bytes, row: ExecutionRow, reason: str) -> None:
    """The executor of the current attempt is gone, and nobody can tell how far it got."""
    row.error = reason
    if row.cancel_requested:
        end(context, execution_id, row, ExecutionState.CANCELLED)
    elif row.delivery == Delivery.AT_MOST_ONCE or _vanished_too_often(context, row):
        end_lost(context, execution_id, row)
    else:
        _again(context, execution_id, row, ExecutionState.LOST, 0)


def _vanished_too_often(context: Context, row: ExecutionRow) -> bool:
    if row.attempt < MAX_ATTEMPTS:
        return False
    policy = _retry_policy(context, row)
    return policy is None or row.attempt >= policy.max_attempts


def wake(context: Context, body: pb.Wake) -> pb.Outcome:
    """Let executions go on that waited for a time, and end those whose start deadline has passed."""
    for item in body.items:
        context.batch.delete(Table.TIMERS, timer_key(item.due_us, item.id))
        row = find_execution(context, item.id)
        if row is None or row.state != ExecutionState.PENDING:
            continue
        if row.not_before_us == item.due_us > 0:
            take_out(context, item.id, row)
            row.not_before_us = 0
            place(context, item.id, row, "")
        elif row.start_by_us == item.due_us > 0:
            end_expired(context, item.id, row)
    return pb.Outcome()
