"""ListTasks: a filtered walk through the task table, by name or by what fires next."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from raftsched_client.v1 import task_pb2

from raftsched.api.convert import public_task, task_state
from raftsched.api.errors import invalid_field, not_found
from raftsched.api.fields import page_size, quoted
from raftsched.api.paging import collect, decode_token, encode_token
from raftsched.core.model import Cursor
from raftsched.core.rows import decode_cursor
from raftsched.core.wellformed import MAX_NAME_BYTES
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Reader, Table

DEFAULT_PAGE, LARGEST_PAGE = 100, 1_000
_DUE, _REST = b"0", b"1"
_Tasks = Iterator[tuple[bytes, task_pb2.Task | None]]


def read_task(reader: Reader, name: str) -> tuple[pb.TaskRow, Cursor]:
    """A task and its cursor. Raises ApiError (NOT_FOUND)."""
    key = name.encode()
    row, cursor = reader.get(Table.TASKS, key), reader.get(Table.CURSORS, key)
    if row is None or cursor is None:
        raise not_found(f"task named {quoted(name)}")
    return pb.TaskRow.FromString(row), decode_cursor(cursor)


async def list_tasks(reader: Reader, request: task_pb2.ListTasksRequest) -> task_pb2.ListTasksResponse:
    """One page. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)
    if len(request.name_prefix.encode()) > MAX_NAME_BYTES:
        raise invalid_field("name_prefix", f"is longer than {MAX_NAME_BYTES} bytes, as no name is")
    if request.order_by not in _ORDERS:
        raise invalid_field("order_by", f"must be one of {', '.join(filter(None, _ORDERS))}")
    after = decode_token(request, request.page_token)
    page = await collect(_ORDERS[request.order_by](reader, request, after), limit)
    return task_pb2.ListTasksResponse(tasks=page.items, next_page_token=encode_token(request, page.last_key))


def _by_name(reader: Reader, request: task_pb2.ListTasksRequest, after: bytes, *, reverse: bool = False) -> _Tasks:
    prefix = request.name_prefix.encode()
    # Names are ASCII.
    start, stop = prefix, prefix + b"\xff"
    if after and reverse:
        stop = after
    elif after:
        start = after + b"\0"
    for key, value in reader.scan(Table.TASKS, start, stop, reverse=reverse):
        yield key, _matching(reader, key, pb.TaskRow.FromString(value), request)


def _by_next_fire(reader: Reader, request: task_pb2.ListTasksRequest, after: bytes, *, reverse: bool = False) -> _Tasks:
    """Along the due index, then along the names of what is not in it. The first byte of a key says where it stands."""
    prefix = request.name_prefix.encode()
    if not after or after[:1] == _DUE:
        start, stop = b"", None
        if after and reverse:
            stop = after[1:]
        elif after:
            start = after[1:] + b"\0"
        for key, _ in reader.scan(Table.DUE, start, stop, reverse=reverse):
            name = key[8:]
            task = _read_matching(reader, name, request) if name.startswith(prefix) else None
            # The row of a task that is paused says when its pause ends.
            yield _DUE + key, task if task is not None and not task.paused else None
    rest = after[1:] if after[:1] == _REST else b""
    for key, task in _by_name(reader, request, rest):
        yield _REST + key, task if task is not None and not task.HasField("next_fire_time") else None


_Order = Callable[[Reader, task_pb2.ListTasksRequest, bytes], _Tasks]
_ORDERS: dict[str, _Order] = {
    "": _by_name,
    "name": _by_name,
    "name desc": partial(_by_name, reverse=True),
    "next_fire_time": _by_next_fire,
    "next_fire_time desc": partial(_by_next_fire, reverse=True),
}


def _read_matching(reader: Reader, key: bytes, request: task_pb2.ListTasksRequest) -> task_pb2.Task | None:
    value = reader.get(Table.TASKS, key)
    assert value is not None, f"{key!r} is due, and is no task"
    return _matching(reader, key, pb.TaskRow.FromString(value), request)


def _matching(reader: Reader, key: bytes, row: pb.TaskRow, request: task_pb2.ListTasksRequest) -> task_pb2.Task | None:
    wants_paused = request.state == task_pb2.TASK_STATE_PAUSED
    # What can be told from the row alone comes first: most calls with a filter pass over most rows.
    if request.state and wants_paused != row.task.paused:
        return None
    if not _carries(row.task.labels, request.labels):
        return None
    value = reader.get(Table.CURSORS, key)
    assert value is not None, f"{key!r} has no cursor"
    cursor = decode_cursor(value)
    if request.state and task_state(row.task, cursor) != request.state:
        return None
    return public_task(row, cursor)


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(key in labels and value in ("", labels[key]) for key, value in wanted.items())
