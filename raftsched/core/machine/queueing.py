"""The open and the queued executions of one task."""

from itertools import islice

from raftsched.core import overlap
from raftsched.core.machine.context import Context
from raftsched.core.machine.placement import find_execution, place, take_out
from raftsched.core.rows import be64, open_key, queue_key
from raftsched.ports import Table


def open_executions(context: Context, uid: int) -> list[bytes]:
    """Open executions of a task that are not queued, oldest first; as many as can matter."""
    return _ids_between(context, open_key(uid, b""), queue_key(uid, b""))


def queued_executions(context: Context, uid: int) -> list[bytes]:
    """Queued executions of a task, oldest first; as many as can matter."""
    return _ids_between(context, queue_key(uid, b""), be64(uid) + b"\2")


def _ids_between(context: Context, start: bytes, stop: bytes) -> list[bytes]:
    rows = islice(context.batch.scan(Table.OPEN, start, stop), overlap.LARGEST_LIMIT)
    return [key[len(start) :] for key, _ in rows]


def promote(context: Context, uid: int) -> None:
    """Let queued executions of a task go on, as far as there is room."""
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
