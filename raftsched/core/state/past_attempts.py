"""Attempts that were followed by others: a row of each, with what it wrote last, beside the row of its execution.

The row of the execution is written for each further step, so it has the last few of them without what they wrote. An
execution that ends with its first attempt has no rows here.
"""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import Batch, Reader, Table

AttemptRow = pb.AttemptRow

IN_EXECUTION = 10
"""How many of them the row of an execution has."""
MAX_ROWS = 100_000
"""Of all executions. Beyond it those of the oldest nominal time are removed."""
_OUTPUT_FIELDS = ("output_tail", "output_size_bytes", "output_sha256", "output_stored_bytes")


def attempt_key(execution_id: bytes, attempt: int) -> bytes:
    """Key of ``Table.ATTEMPTS``."""
    return execution_id + attempt.to_bytes(4, "big")


def remember(batch: Batch, execution_id: bytes, row: ExecutionRow, state: int, end_us: int) -> None:
    """Keep the present attempt of an execution, which ended in ``state`` and will be followed by another."""
    past = _attempt_of(row, state)
    past.result.end_us = past.result.end_us or end_us
    row.first_start_us = first_start_us(row)
    batch.put(Table.ATTEMPTS, attempt_key(execution_id, row.attempt), past.SerializeToString())
    if batch.count(Table.ATTEMPTS) > MAX_ROWS:
        oldest, _ = next(batch.scan(Table.ATTEMPTS))
        batch.delete(Table.ATTEMPTS, oldest)
    row.past_attempts.append(_short(past))
    del row.past_attempts[:-IN_EXECUTION]


def learn(batch: Batch, row: ExecutionRow, item: pb.Report.Item, start_us: int) -> bool:
    """Take what an executor tells of an attempt after it was given up; False when that is no news.

    That the attempt is LOST has been decided and stays. ``start_us`` is when it started; 0: that is not known.
    """
    if item.attempt == row.attempt:
        return _learn(row, item, start_us)
    key = attempt_key(item.id, item.attempt)
    found = batch.get(Table.ATTEMPTS, key)
    past = AttemptRow() if found is None else AttemptRow.FromString(found)
    if not _learn(past, item, start_us):
        return False
    batch.put(Table.ATTEMPTS, key, past.SerializeToString())
    if start_us and not 0 < first_start_us(row) <= start_us:
        row.first_start_us = start_us
    for short in row.past_attempts:
        if short.attempt == past.attempt:
            short.CopyFrom(_short(past))
    return True


def _learn(of: ExecutionRow | AttemptRow, item: pb.Report.Item, start_us: int) -> bool:
    if of.state != ExecutionState.LOST or of.told or of.executor_id != item.executor_id:
        return False
    of.told = True
    known, told = of.result, item.result
    known.start_us = known.start_us or start_us
    for name in _OUTPUT_FIELDS:
        setattr(known, name, getattr(told, name))
    how = ExecutionState(item.state).name + (f": {told.error}" if told.error else "")
    known.error = f"{known.error}; later its executor told how it ended: {how}"
    return True


def _short(past: AttemptRow) -> AttemptRow:
    """What the row of the execution has of it."""
    short = AttemptRow()
    short.CopyFrom(past)
    short.result.CopyFrom(without_output(past.result))
    return short


def without_output(result: AttemptResult) -> AttemptResult:
    """A copy without what the attempt wrote, but for the size."""
    short = AttemptResult()
    short.CopyFrom(result)
    for name in ("output_tail", "output_sha256", "output_stored_bytes"):
        short.ClearField(name)
    return short


def forget(batch: Batch, execution_id: bytes, row: ExecutionRow) -> None:
    """Remove the rows of an execution that is no longer kept."""
    if row.attempt > 1:
        for key in [key for key, _ in _rows(batch, execution_id, row)]:
            batch.delete(Table.ATTEMPTS, key)


def past_attempts(reader: Reader, execution_id: bytes, row: ExecutionRow) -> list[AttemptRow]:
    """The attempts before the present one that are kept, oldest first; without what they wrote where that is not."""
    if row.attempt <= 1:
        return []
    found = {past.attempt: past for past in row.past_attempts}
    for _, value in _rows(reader, execution_id, row):
        past = AttemptRow.FromString(value)
        found[past.attempt] = past
    return [found[attempt] for attempt in sorted(found)]


def present_attempt(row: ExecutionRow) -> AttemptRow:
    """The last attempt of an execution, as it stands."""
    attempt = _attempt_of(row, row.state)
    if not ExecutionState(row.state).ended and not row.cancel_requested:
        # It is that of the attempt before.
        attempt.result.error = ""
    return attempt


def as_of(reader: Reader, execution_id: bytes, row: ExecutionRow, attempt: int) -> ExecutionRow | None:
    """The row of an execution as one of its attempts left it; None when that is not kept, or was not made yet."""
    if attempt == row.attempt:
        return row
    past = next((past for past in past_attempts(reader, execution_id, row) if past.attempt == attempt), None)
    if past is None:
        return None
    return ExecutionRow(
        task=row.task,
        attempt=attempt,
        state=past.state,
        executor_id=past.executor_id,
        told=past.told,
        result=past.result,
    )


def first_start_us(row: ExecutionRow) -> int:
    """When the first attempt started that is known to have started; 0: none is."""
    # A row of an older version has it only here.
    past_us = next((past.result.start_us for past in row.past_attempts if past.result.start_us), 0)
    return row.first_start_us or past_us or row.result.start_us


def _attempt_of(row: ExecutionRow, state: int) -> AttemptRow:
    return AttemptRow(attempt=row.attempt, state=state, executor_id=row.executor_id, told=row.told, result=row.result)


def _rows(reader: Reader, execution_id: bytes, row: ExecutionRow) -> list[tuple[bytes, bytes]]:
    stop = attempt_key(execution_id, row.attempt)
    return list(reader.scan(Table.ATTEMPTS, attempt_key(execution_id, 0), stop))
