"""ListTasks: a filtered walk through the task table, by name."""

from collections.abc import Iterator, Mapping

from raftsched_client.v1 import task_pb2

from raftsched.api.convert import public_task
from raftsched.api.errors import invalid_field, not_found
from raftsched.api.fields import page_size, quoted
from raftsched.api.paging import collect, decode_token, encode_token
from raftsched.core.model import Cursor
from raftsched.core.rows import decode_cursor
from raftsched.core.wellformed import MAX_NAME_BYTES
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Reader, Table

DEFAULT_PAGE, LARGEST_PAGE = 100, 1_000


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
    after = decode_token(request, request.page_token)
    page = await collect(_tasks(reader, request, after), limit)
    return task_pb2.ListTasksResponse(tasks=page.items, next_page_token=encode_token(request, page.last_key))


def _tasks(
    reader: Reader, request: task_pb2.ListTasksRequest, after: bytes
) -> Iterator[tuple[bytes, task_pb2.Task | None]]:
    prefix = request.name_prefix.encode()
    start = after + b"\0" if after else prefix
    # Names are ASCII.
    for key, value in reader.scan(Table.TASKS, start, prefix + b"\xff"):
        row = pb.TaskRow.FromString(value)
        yield key, _matching(reader, key, row, request)


def _matching(reader: Reader, key: bytes, row: pb.TaskRow, request: task_pb2.ListTasksRequest) -> task_pb2.Task | None:
    if not _carries(row.task.labels, request.labels):
        return None
    cursor = reader.get(Table.CURSORS, key)
    assert cursor is not None, f"{key!r} has no cursor"
    task = public_task(row, decode_cursor(cursor))
    return task if request.state in (task_pb2.TASK_STATE_UNSPECIFIED, task.state) else None


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(key in labels and value in ("", labels[key]) for key, value in wanted.items())
