"""Rows of the state tables as messages of the public API."""

from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import execution_pb2, task_pb2

from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.state import ids
from raftsched.core.state.model import Cursor
from raftsched.core.state.past_attempts import first_start_us
from raftsched.core.state.rows import ExecutionRow, LedgerRow, executions_of, has_execution, parse_ledger_key


def uid_text(uid: int) -> str:
    """The uid of a task as the API writes it."""
    return f"{uid:x}"


def etag(uid: int, revision: int) -> str:
    """The etag of a task."""
    return f"{uid:x}-{revision:x}"


def revision_of(text: str) -> int:
    """The revision that an etag stands for; -1, which matches none, when it is no etag of ours."""
    try:
        return int(text.partition("-")[2], 16)
    except ValueError:
        return -1


def public_task(row: pb.TaskRow, cursor: Cursor) -> task_pb2.Task:
    """The task with its output-only fields."""
    task = row.task
    task.uid = uid_text(row.uid)
    task.etag = etag(row.uid, row.revision)
    task.state = task_state(task, cursor)
    if not task.paused:
        set_time(task.next_fire_time, cursor.next_us)
    set_time(task.last_fire_time, cursor.last_us)
    return task


def task_state(task: task_pb2.Task, cursor: Cursor) -> task_pb2.TaskState.ValueType:
    """Whether nominal times are to come."""
    if task.paused:
        return task_pb2.TASK_STATE_PAUSED
    return task_pb2.TASK_STATE_ACTIVE if cursor.next_us or task.after else task_pb2.TASK_STATE_FINISHED


def public_execution(execution_id: bytes, row: ExecutionRow) -> execution_pb2.Execution:
    """The execution that a row of ``Table.EXECUTIONS`` holds."""
    result = row.result
    execution = execution_pb2.Execution(
        id=ids.to_text(execution_id),
        task=row.task,
        task_uid=uid_text(row.uid),
        generation=row.generation,
        trigger=row.trigger,  # type: ignore[arg-type]  # the enum of the stub is an int
        state=row.state,  # type: ignore[arg-type]  # the enum of the stub is an int
        attempt=row.attempt,
        fencing_token=row.fencing_token,
        executor_id=row.executor_id,
        output_sha256=result.output_sha256.hex(),
        output_stored_bytes=result.output_stored_bytes or len(result.output_tail),
        output_copy_node_id=row.output_copy_node_id,
        leader_id=row.leader_id,
        term=row.term,
    )
    set_time(execution.nominal_time, row.nominal_us)
    set_time(execution.fire_time, row.fire_us)
    set_time(execution.first_start_time, first_start_us(row))
    _tell_result(execution, result)
    execution.queued = row.queued
    execution.group = row.group
    execution.priority = row.priority
    set_time(execution.next_attempt_time, row.not_before_us)
    execution.parent_execution_ids.extend(map(ids.to_text, row.parent_execution_ids))
    if row.root_execution_id:
        execution.root_execution_id = ids.to_text(row.root_execution_id)
    execution.pinned_executor_id = row.pinned_executor_id
    set_time(execution.start_deadline_time, row.start_by_us)
    execution.past_attempts.extend(map(public_attempt, row.past_attempts))
    return execution


def public_attempt(row: pb.AttemptRow) -> execution_pb2.Attempt:
    """The attempt that a row of ``Table.ATTEMPTS`` holds."""
    attempt = execution_pb2.Attempt(
        attempt=row.attempt,
        state=row.state,  # type: ignore[arg-type]  # the enum of the stub is an int
        executor_id=row.executor_id,
    )
    _tell_result(attempt, row.result)
    return attempt


def _tell_result(told: execution_pb2.Execution | execution_pb2.Attempt, result: AttemptResult) -> None:
    set_time(told.start_time, result.start_us)
    set_time(told.end_time, result.end_us)
    told.error = result.error
    told.output_tail = result.output_tail
    told.output_size_bytes = result.output_size_bytes
    if result.HasField("exit_code"):
        told.exit_code = result.exit_code
    if result.HasField("http_status"):
        told.http_status = result.http_status


def public_ledger_entry(key: bytes, value: bytes) -> execution_pb2.LedgerEntry:
    """The entry that a row of ``Table.LEDGER`` holds."""
    name, nominal_us, execution_id = parse_ledger_key(key)
    row = LedgerRow.FromString(value)
    entry = execution_pb2.LedgerEntry(
        task=name,
        task_uid=uid_text(row.uid),
        count=row.count,
        decision=row.decision,  # type: ignore[arg-type]  # the enum of the stub is an int
        reason=row.reason,
        execution_id=ids.to_text(execution_id) if has_execution(row) and not row.executor_ids else "",
        execution_ids=map(ids.to_text, executions_of(key, row)) if row.executor_ids else (),
        trigger=row.trigger,  # type: ignore[arg-type]  # the enum of the stub is an int
        leader_id=row.leader_id,
        term=row.term,
        generation=row.generation,
        misfire_policy=row.misfire_policy,  # type: ignore[arg-type]  # the enum of the stub is an int
        overlap_policy=row.overlap_policy,  # type: ignore[arg-type]  # the enum of the stub is an int
        delivery=row.delivery,  # type: ignore[arg-type]  # the enum of the stub is an int
        early=row.early,
    )
    entry.parent_execution_ids.extend(map(ids.to_text, row.parent_execution_ids))
    set_time(entry.coalesced_into_time, row.into_us)
    set_time(entry.nominal_time, nominal_us)
    set_time(entry.last_nominal_time, row.last_nominal_us)
    set_time(entry.decide_time, row.decide_us)
    return entry


def set_time(field: Timestamp, time_us: int) -> None:
    """Leave the field unset when there is no time. What an executor's clock says may lie beyond what it can hold."""
    if time_us > 0:
        field.FromMicroseconds(min(time_us, MAX_US))
