"""What the index keeps of a row of the state tables."""

import math
from enum import IntEnum
from typing import NamedTuple

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import history_pb2, task_pb2

from raftsched.core.state.model import ExecutionState, Trigger
from raftsched.core.state.past_attempts import first_start_us, past_attempts
from raftsched.core.state.rows import ExecutionRow, LedgerRow, has_execution, parse_ledger_key, timestamp_us
from raftsched.history.text import plain
from raftsched.ports import Reader

BIN_BASE = 1.05
"""Bins of durations grow by 5 %, so that a percentile read off them is at most 5 % too high."""
_LOG_BASE = math.log(BIN_BASE)


class Kind(IntEnum):
    """What a record is; the numbers are those of ``raftsched.v1.LogKind``."""

    EXECUTION = 1
    DECISION = 2
    TASK_CHANGE = 3


ENDED = frozenset(int(state) for state in ExecutionState if state.ended)
_BACKFILL = int(Trigger.BACKFILL)


class Record(NamedTuple):
    """One record of the index."""

    key: bytes
    kind: Kind
    task: str
    time_us: int
    body: bytes
    """The row of the state tables; of a change of a task a ``raftsched.v1.TaskChange``."""
    state: int = 0
    trigger: int = 0
    executor: str | None = None
    backfilled_ms: int | None = None
    """Of an execution of a backfill: when it was decided, in milliseconds since the Unix epoch."""
    lateness_us: int | None = None
    """From the nominal time to the first start; None of a backfill, whose nominal time is long past."""
    duration_us: int | None = None
    """From the start to the end of the last attempt."""
    exit_code: int | None = None
    error: str = ""
    output: str = ""
    """The end of that of the last attempt, which came through the log."""
    past_output: str = ""
    """The ends of those of the attempts before, the newest first; what several wrote alike is there once."""
    has_stored_output: bool = False
    """Whether more of it is in a file somewhere."""
    final: bool = True
    """Whether it will not change any more."""


def bin_of(duration_us: int | None) -> int | None:
    """The number of the bin that a duration falls into."""
    return None if duration_us is None else math.ceil(math.log(duration_us + 1) / _LOG_BASE)


def bin_top_us(number: int) -> int:
    """The longest duration of a bin."""
    return max(0, int(BIN_BASE**number) - 1)


def execution_record(execution_id: bytes, value: bytes) -> Record:
    """The record of a row of ``Table.EXECUTIONS``, or of what the index keeps of one."""
    return _record_of(execution_id, ExecutionRow.FromString(value), value)


def whole_execution_record(reader: Reader, execution_id: bytes, value: bytes) -> Record:
    """The record of a row of ``Table.EXECUTIONS``, kept with all attempts before the last and what they wrote."""
    row = ExecutionRow.FromString(value)
    if row.attempt <= 1:
        return _record_of(execution_id, row, value)
    past = past_attempts(reader, execution_id, row)
    del row.past_attempts[:]
    row.past_attempts.extend(past)
    return _record_of(execution_id, row, row.SerializeToString())


def _record_of(execution_id: bytes, row: ExecutionRow, body: bytes) -> Record:
    result = row.result
    state, trigger, nominal_us, tail = row.state, row.trigger, row.nominal_us, result.output_tail
    error, past_output = result.error, ""
    # Most have only one attempt.
    start_us, end_us = result.start_us, result.end_us
    first_us = row.first_start_us or start_us
    if row.attempt > 1:
        past = list(reversed(row.past_attempts))
        error = _joined([error, *(each.result.error for each in past)])
        past_output = _joined([_shown(each.result.output_tail) for each in past])
        first_us = first_start_us(row)
    # By place: that takes half as long as by name, and this is done for each execution.
    return Record(
        execution_id,
        Kind.EXECUTION,
        row.task,
        nominal_us,
        body,
        state,
        trigger,
        row.executor_id or None,
        row.fire_us // 1000 if trigger == _BACKFILL else None,
        max(0, first_us - nominal_us) if first_us and trigger != _BACKFILL else None,
        max(0, end_us - start_us) if start_us and end_us else None,
        result.exit_code if result.HasField("exit_code") else None,
        error,
        _shown(tail) if tail else "",
        past_output,
        bool(result.output_sha256),
        state in ENDED,
    )


def _shown(tail: bytes) -> str:
    return plain(tail.decode(errors="replace"))


def _joined(texts: list[str]) -> str:
    return "\n".join(dict.fromkeys(filter(None, texts)))


def decision_record(key: bytes, value: bytes) -> Record | None:
    """The record of a row of ``Table.LEDGER``; None for one that an execution stands for."""
    row = LedgerRow.FromString(value)
    if has_execution(row):
        return None
    task, nominal_us, _ = parse_ledger_key(key)
    return Record(
        key=decision_key(key),
        kind=Kind.DECISION,
        task=task,
        time_us=nominal_us,
        body=value,
        trigger=row.trigger,
        error=row.reason,
    )


def decision_key(ledger_key: bytes) -> bytes:
    """The key of the record of a ledger entry."""
    return b"D" + ledger_key


def ledger_key_of(record_key: bytes) -> bytes:
    """The key of the ledger entry of a record."""
    return record_key[1:]


def change_key(task: str, revision: int) -> bytes:
    """The key of the record of a change of a task."""
    return b"C" + task.encode() + b"\0" + revision.to_bytes(8, "big")


def change_record(row: pb.TaskRow, before: task_pb2.Task | None) -> Record:
    """The record of a definition, or of a deletion, after what was there before."""
    time_us = row.delete_us or timestamp_us(row.task.update_time)
    created = before is None and row.task.update_time == row.task.create_time
    change = history_pb2.TaskChange(
        task=row.task.name,
        revision=row.revision,
        actor=row.actor,
        definition=row.task,
        task_uid=f"{row.uid:x}",
        changed_fields=[] if before is None or row.delete_us else changed_fields(before, row.task),
    )
    change.time.FromMicroseconds(time_us)
    change.kind = (
        history_pb2.TASK_CHANGE_KIND_DELETED
        if row.delete_us
        else history_pb2.TASK_CHANGE_KIND_CREATED
        if created
        else history_pb2.TASK_CHANGE_KIND_UPDATED
    )
    return Record(
        key=change_key(row.task.name, row.revision),
        kind=Kind.TASK_CHANGE,
        task=row.task.name,
        time_us=time_us,
        body=change.SerializeToString(deterministic=True),
    )


_BOOKKEEPING = {"generation", "create_time", "update_time", "etag", "uid", "state", "next_fire_time", "last_fire_time"}


def changed_fields(before: task_pb2.Task, after: task_pb2.Task) -> list[str]:
    """Names of the fields of the definition that differ."""
    return [
        field.name
        for field in task_pb2.Task.DESCRIPTOR.fields
        if field.name not in _BOOKKEEPING and getattr(before, field.name) != getattr(after, field.name)
    ]
