"""Rows of the state tables as messages of the public API."""

from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_client.v1 import execution_pb2, task_pb2

from raftsched.core import ids
from raftsched.core.model import Cursor
from raftsched.core.rows import ExecutionRow, LedgerRow, executions_of, has_execution, parse_ledger_key
from raftsched.core.wellformed import MAX_US
from raftsched.internal.v1 import command_pb2 as pb


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
        _set(task.next_fire_time, cursor.next_us)
    _set(task.last_fire_time, cursor.last_us)
    return task


def task_state(task: task_pb2.Task, cursor: Cursor) -> task_pb2.TaskState.ValueType:
    """Whether nominal times are to come."""
    if task.paused:
        return task_pb2.TASK_STATE_PAUSED
    return task_pb2.TASK_STATE_ACTIVE if cursor.next_us or task.after else task_pb2.TASK_STATE_FINISHED


def public_execution(execution_id: bytes, row: ExecutionRow) -> execution_pb2.Execution:
    """The execution that a row of ``Table.EXECUTIONS`` holds."""
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
        error=row.error,
        output_tail=row.output_tail,
        output_size_bytes=row.output_size_bytes,
        output_sha256=row.output_sha256.hex(),
        output_stored_bytes=row.output_stored_bytes or len(row.output_tail),
        output_copy_node_id=row.output_copy_node_id,
        leader_id=row.leader_id,
        term=row.term,
    )
    _set(execution.nominal_time, row.nominal_us)
    _set(execution.fire_time, row.fire_us)
    _set(execution.start_time, row.start_us)
    _set(execution.end_time, row.end_us)
    if row.HasField("exit_code"):
        execution.exit_code = row.exit_code
    if row.HasField("http_status"):
        execution.http_status = row.http_status
    execution.queued = row.queued
    execution.group = row.group
    execution.priority = row.priority
    _set(execution.next_attempt_time, row.not_before_us)
    execution.parent_execution_ids.extend(map(ids.to_text, row.parent_execution_ids))
    if row.root_execution_id:
        execution.root_execution_id = ids.to_text(row.root_execution_id)
    execution.pinned_executor_id = row.pinned_executor_id
    _set(execution.start_deadline_time, row.start_by_us)
    execution.past_attempts.extend(map(_public_attempt, row.past_attempts))
    return execution


def _public_attempt(row: pb.AttemptRow) -> execution_pb2.Attempt:
    attempt = execution_pb2.Attempt(
        attempt=row.attempt,
        state=row.state,  # type: ignore[arg-type]  # the enum of the stub is an int
        executor_id=row.executor_id,
        error=row.error,
    )
    _set(attempt.start_time, row.start_us)
    _set(attempt.end_time, row.end_us)
    if row.HasField("exit_code"):
        attempt.exit_code = row.exit_code
    if row.HasField("http_status"):
        attempt.http_status = row.http_status
    return attempt


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
    )
    entry.parent_execution_ids.extend(map(ids.to_text, row.parent_execution_ids))
    _set(entry.coalesced_into_time, row.into_us)
    _set(entry.nominal_time, nominal_us)
    _set(entry.last_nominal_time, row.last_nominal_us)
    _set(entry.decide_time, row.decide_us)
    return entry


def _set(field: Timestamp, time_us: int) -> None:
    """Leave the field unset when there is no time. What an executor's clock says may lie beyond what it can hold."""
    if time_us > 0:
        field.FromMicroseconds(min(time_us, MAX_US))
