"""The open and the queued executions of one task."""

from itertools import islice

from raftsched.core.machine.context import Context
from raftsched.core.machine.placement import find_execution, place, take_out
from raftsched.core.policy import overlap
from raftsched.core.state.rows import ExecutionRow, backfill_open_key, backfill_queue_key, be64, open_key, queue_key
from raftsched.ports import Table


def open_executions(context: Context, uid: int) -> list[bytes]:
    """Open executions of a task that are not queued, oldest first; as many as can matter."""
    return _ids_between(context, open_key(uid, b""), queue_key(uid, b""))


def queued_executions(context: Context, uid: int) -> list[bytes]:
    """Queued executions of a task, oldest first; as many as can matter."""
    return _ids_between(context, queue_key(uid, b""), backfill_queue_key(uid, b""))


def enter_open(context: Context, uid: int, execution_id: bytes, executions: int) -> None:
    """Count an execution as open, or a nominal time that has several ``executions`` until the last of them ends."""
    value = executions.to_bytes(4, "big") if executions else b""
    context.batch.put(Table.OPEN, open_key(uid, execution_id), value)


def leave_open(context: Context, execution_id: bytes, row: ExecutionRow) -> None:
    """An execution that was counted has ended: let the queue of its task move up if there is room."""
    if row.backfill_max_running:
        context.batch.delete(Table.OPEN, backfill_open_key(row.uid, execution_id))
    key = open_key(row.uid, row.nominal_id or execution_id)
    others = int.from_bytes(context.batch.get(Table.OPEN, key) or b"", "big") - 1
    if others > 0:
        enter_open(context, row.uid, row.nominal_id, others)
        return
    context.batch.delete(Table.OPEN, key)
    promote(context, row.uid)


def _ids_between(context: Context, start: bytes, stop: bytes) -> list[bytes]:
    rows = islice(context.batch.scan(Table.OPEN, start, stop), overlap.LARGEST_LIMIT)
    return [key[len(start) :] for key, _ in rows]


def promote(context: Context, uid: int) -> None:
    """Let queued executions of a task go on as far as there is room, and then those of its backfills."""
    running = len(open_executions(context, uid))
    for execution_id in queued_executions(context, uid):
        row = find_execution(context, execution_id)
        if row is None or not row.queued:
            context.batch.delete(Table.OPEN, queue_key(uid, execution_id))
            continue
        if running >= row.max_running:
            return
        running += 1
        take_out(context, execution_id, row)
        row.queued = False
        context.batch.put(Table.OPEN, open_key(uid, execution_id), b"")
        place(context, execution_id, row, "")
    _promote_backfills(context, uid, running)


def _promote_backfills(context: Context, uid: int, running: int) -> None:
    """``running``: open executions that the overlap limit of the task counts."""
    open_ = len(_ids_between(context, backfill_open_key(uid, b""), be64(uid) + b"\4"))
    for execution_id in _ids_between(context, backfill_queue_key(uid, b""), backfill_open_key(uid, b"")):
        row = find_execution(context, execution_id)
        if row is None or not row.queued:
            context.batch.delete(Table.OPEN, backfill_queue_key(uid, execution_id))
            continue
        if open_ >= row.backfill_max_running or 0 < row.max_running <= running:
            return
        take_out(context, execution_id, row)
        row.queued = False
        open_ += 1
        context.batch.put(Table.OPEN, backfill_open_key(uid, execution_id), b"")
        if row.max_running:
            running += 1
            context.batch.put(Table.OPEN, open_key(uid, execution_id), b"")
        place(context, execution_id, row, "")
