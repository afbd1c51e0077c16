"""Commands about the attempts of executions: who gets them, what executors said, and what follows."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.core.machine import arming
from raftsched.core.machine.context import Context
from raftsched.core.machine.ending import end, end_expired, end_lost
from raftsched.core.machine.placement import find_execution, place, put_off, take_out, write_execution
from raftsched.core.policy import retry
from raftsched.core.state import past_attempts
from raftsched.core.state.lifecycle import MAX_ATTEMPTS, may_follow
from raftsched.core.state.model import ACTIVE_STATES, EXECUTION_STATES, Delivery, ExecutionState
from raftsched.core.state.rows import ExecutionRow, retry_from_proto, timer_key
from raftsched.ports import Table

# Looked up once: see EXECUTION_STATES.
_PENDING, _RUNNING, _LOST = ExecutionState.PENDING, ExecutionState.RUNNING, ExecutionState.LOST


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
        if row is None:
            continue
        attempt, copy_node_id = item.attempt, item.output_copy_node_id
        if not copy_node_id and _is_given_up(row, attempt):
            _take_late(context, item, row)
            continue
        if row.attempt != attempt or row.executor_id != item.executor_id:
            continue
        if copy_node_id:
            row.output_copy_node_id = copy_node_id
            write_execution(context, item.id, row)
            continue
        state = EXECUTION_STATES.get(item.state)
        if state is None:
            continue
        if state is _PENDING:
            arming.give_back(context, item, row)
            continue
        is_news = state is _RUNNING or state.ended
        if not is_news or not may_follow(EXECUTION_STATES[row.state], state):
            continue
        _take_report(context, item, row, state)
    return pb.Outcome()


def _take_report(context: Context, item: pb.Report.Item, row: ExecutionRow, state: ExecutionState) -> None:
    now_us = context.command.now_us
    if row.withdrawn:
        arming.started(row)
    execution_id, reported, result, fire_us = item.id, item.result, row.result, row.fire_us
    # An executor that was started anew does not know when what it lost had started.
    start_us = _within(reported.start_us, fire_us, now_us) or result.start_us
    if state is _RUNNING:
        result.start_us = start_us
        row.state = state
        write_execution(context, execution_id, row)
        return
    _take_result(reported, result, state)
    result.end_us = _within(reported.end_us, start_us or fire_us, now_us)
    result.start_us = start_us
    if state is _LOST:
        row.told = True
        _vanished(context, execution_id, row, reported.error)
        return
    wait_us = _wait_us(context, item, row, state) if state in retry.RETRIED_STATES else 0
    if wait_us:
        _again(context, execution_id, row, state, now_us + wait_us)
    else:
        end(context, execution_id, row, state)


def _is_given_up(row: ExecutionRow, attempt: int) -> bool:
    """Whether the attempt was taken from its executor, or is over and followed by another."""
    current = row.attempt
    return (attempt == current and row.state == _LOST) or 0 < attempt < current


def _take_late(context: Context, item: pb.Report.Item, row: ExecutionRow) -> None:
    """What an executor says of an attempt that was taken from it is kept for the record; it decides nothing."""
    state = EXECUTION_STATES.get(item.state)
    if state is None or not state.ended:
        return
    start_us = _within(item.result.start_us, row.fire_us, context.command.now_us)
    if past_attempts.learn(context.batch, row, item, start_us):
        write_execution(context, item.id, row)


def _within(reported_us: int, low_us: int, high_us: int) -> int:
    """A time that an executor reported, which cannot be before its execution was decided, nor to come; 0 stays so."""
    return max(low_us, min(reported_us, high_us)) if reported_us else 0


def _take_result(reported: AttemptResult, result: AttemptResult, state: ExecutionState) -> None:
    reason = result.error
    result.CopyFrom(reported)
    if reason and state == ExecutionState.CANCELLED:
        # The executor does not know why it was told to cancel.
        result.error = reason


def _wait_us(context: Context, item: pb.Report.Item, row: ExecutionRow, state: ExecutionState) -> int:
    """How long the next attempt waits after one that ended so that another may follow; 0: none does."""
    if row.cancel_requested:
        return 0
    policy = _retry_policy(context, row)
    result = row.result
    exit_code = result.exit_code if result.HasField("exit_code") else None
    http_status = result.http_status if result.HasField("http_status") else None
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
    past_attempts.remember(context.batch, execution_id, row, ended, context.command.now_us)
    take_out(context, execution_id, row)
    row.attempt += 1
    row.start_by_us = 0
    row.result.CopyFrom(AttemptResult(error=row.result.error))
    for field_name in ("executor_id", "output_copy_node_id", "told", "withdrawn"):
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
        if row.state in ACTIVE_STATES:
            _vanished(context, item.id, row, item.reason)
    return pb.Outcome()


def _vanished(context: Context, execution_id: bytes, row: ExecutionRow, reason: str) -> None:
    """The executor of the current attempt is gone, and nobody can tell how far it got."""
    if row.withdrawn and not row.cancel_requested and arming.vanished(context, execution_id, row, reason):
        return
    row.result.error = reason
    if row.cancel_requested:
        end(context, execution_id, row, ExecutionState.CANCELLED)
    elif row.delivery == Delivery.AT_MOST_ONCE or _vanished_too_often(context, row):
        end_lost(context, execution_id, row)
    else:
        # What was armed for a time that is yet to come waits for it.
        is_early = row.state == ExecutionState.ARMED and row.nominal_us > context.command.now_us
        _again(context, execution_id, row, ExecutionState.LOST, row.nominal_us if is_early else 0)


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
