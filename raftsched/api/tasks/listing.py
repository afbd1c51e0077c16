"""ListTasks: a filtered walk through the task table, by name or by what fires next."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import consistency_pb2, task_pb2

from raftsched.api.convert import public_task, task_state, uid_text
from raftsched.api.door.errors import invalid_field, not_found
from raftsched.api.paging import collect, decode_token, encode_token, page_size
from raftsched.api.tasks.as_of import cursor_as_of
from raftsched.core.machine.wellformed import MAX_NAME_BYTES
from raftsched.core.state.model import Cursor, ExecutionState
from raftsched.core.state.rows import ExecutionRow, LedgerRow, decode_cursor, executions_of, ledger_key_after_task
from raftsched.definitions.fields import check_enum, quoted
from raftsched.definitions.violations import Violations
from raftsched.ports import Reader, Table

DEFAULT_PAGE, LARGEST_PAGE = 100, 1_000
_LOOK_BACK = 50
"""Entries of the fire record in which the last end of a task is looked for."""
_DUE, _REST = b"0", b"1"
_Tasks = Iterator[tuple[bytes, task_pb2.Task | None]]


def read_task(reader: Reader, name: str) -> tuple[pb.TaskRow, Cursor]:
    """A task and its cursor. Raises ApiError (NOT_FOUND)."""
    key = name.encode()
    row, cursor = reader.get(Table.TASKS, key), reader.get(Table.CURSORS, key)
    if row is None or cursor is None:
        raise not_found(f"task named {quoted(name)}")
    return pb.TaskRow.FromString(row), decode_cursor(cursor)


async def list_tasks(
    reader: Reader, request: task_pb2.ListTasksRequest, now_us: int, waiting: Container[str] = ()
) -> task_pb2.ListTasksResponse:
    """One page. ``waiting``: names of the tasks whose executions wait too long. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)
    if len(request.name_prefix.encode()) > MAX_NAME_BYTES:
        raise invalid_field("name_prefix", f"is longer than {MAX_NAME_BYTES} bytes, as no name is")
    if len(request.name_contains.encode()) > MAX_NAME_BYTES:
        raise invalid_field("name_contains", f"is longer than {MAX_NAME_BYTES} bytes, as no name is")
    if request.order_by not in _ORDERS:
        raise invalid_field("order_by", f"must be one of {', '.join(filter(None, _ORDERS))}")
    violations = Violations()
    check_enum(violations, "condition", request.condition, task_pb2.TaskCondition.values())
    stale = request.consistency == consistency_pb2.CONSISTENCY_STALE
    if request.condition == task_pb2.TASK_CONDITION_WAITING and stale:
        violations.add("condition", "only the leader knows what executions wait for: leave out STALE")
    violations.raise_any()
    after = decode_token(request, request.page_token)
    rows = _ORDERS[request.order_by](_TaskFilter(reader, request, now_us), after)
    page = await collect(_in_condition(reader, rows, request.condition, waiting), limit)
    return task_pb2.ListTasksResponse(tasks=page.items, next_page_token=encode_token(request, page.last_key))


def _in_condition(reader: Reader, tasks: _Tasks, condition: int, waiting: Container[str]) -> _Tasks:
    """The tasks of which the condition holds."""
    if not condition:
        yield from tasks
        return
    for key, task in tasks:
        if task is None:
            yield key, None
        elif condition == task_pb2.TASK_CONDITION_WAITING:
            yield key, task if task.name in waiting else None
        else:
            yield key, task if _fails(reader, task) else None


def _fails(reader: Reader, task: task_pb2.Task) -> bool:
    """Whether its last execution that has ended did not succeed."""
    start, stop = task.name.encode() + b"\0", ledger_key_after_task(task.name)
    for key, value in islice(reader.scan(Table.LEDGER, start, stop, reverse=True), _LOOK_BACK):
        entry = LedgerRow.FromString(value)
        if uid_text(entry.uid) != task.uid:
            return False
        for execution_id in reversed(executions_of(key, entry)):
            found = reader.get(Table.EXECUTIONS, execution_id)
            state = None if found is None else ExecutionState(ExecutionRow.FromString(found).state)
            if state is not None and state.ended and state is not ExecutionState.CANCELLED:
                return state is not ExecutionState.SUCCEEDED
    return False


@dataclass(frozen=True, slots=True)
class _TaskFilter:
    """What a listing asks for."""

    reader: Reader
    request: task_pb2.ListTasksRequest
    now_us: int

    def find(self, key: bytes) -> "_Found | None":
        """The task of that name, which is due, if it is asked for."""
        value = self.reader.get(Table.TASKS, key)
        assert value is not None, f"{key!r} is due, and is no task"
        return self.matching(key, value)

    def matching(self, key: bytes, value: bytes) -> "_Found | None":
        """The task of a row, if it is asked for."""
        if self.request.name_contains.lower().encode() not in key.lower():
            return None
        row = pb.TaskRow.FromString(value)
        state = self.request.state
        # What can be told from the row alone comes first: most calls with a filter pass over most rows.
        if state and (state == task_pb2.TASK_STATE_PAUSED) != row.task.paused:
            return None
        if not _carries(row.task.labels, self.request.labels):
            return None
        stored = self.reader.get(Table.CURSORS, key)
        assert stored is not None, f"{key!r} has no cursor"
        cursor = decode_cursor(stored)
        shown = cursor_as_of(self.reader, row, cursor, self.now_us)
        if state and task_state(row.task, shown) != state:
            return None
        return _Found(public_task(row, shown), is_due=cursor.next_us > 0 and not row.task.paused)


@dataclass(frozen=True, slots=True)
class _Found:
    """A task that is asked for."""

    task: task_pb2.Task
    is_due: bool
    """Whether a nominal time of it is in the due index."""


def _by_name(wanted: _TaskFilter, after: bytes, *, reverse: bool = False) -> _Tasks:
    for key, found in _found_by_name(wanted, after, reverse=reverse):
        yield key, None if found is None else found.task


def _found_by_name(
    wanted: _TaskFilter, after: bytes, *, reverse: bool = False
) -> Iterator[tuple[bytes, _Found | None]]:
    prefix = wanted.request.name_prefix.encode()
    # Names are ASCII.
    start, stop = prefix, prefix + b"\xff"
    if after and reverse:
        stop = after
    elif after:
        start = after + b"\0"
    for key, value in wanted.reader.scan(Table.TASKS, start, stop, reverse=reverse):
        yield key, wanted.matching(key, value)


def _by_next_fire(wanted: _TaskFilter, after: bytes, *, reverse: bool = False) -> _Tasks:
    """Along the due index, then along the names of what is not in it. The first byte of a key says where it stands."""
    prefix = wanted.request.name_prefix.encode()
    if not after or after[:1] == _DUE:
        start, stop = b"", None
        if after and reverse:
            stop = after[1:]
        elif after:
            start = after[1:] + b"\0"
        for key, _ in wanted.reader.scan(Table.DUE, start, stop, reverse=reverse):
            name = key[8:]
            found = wanted.find(name) if name.startswith(prefix) else None
            # The row of a task that is paused says when its pause ends.
            yield _DUE + key, found.task if found is not None and found.is_due else None
    rest = after[1:] if after[:1] == _REST else b""
    for key, found in _found_by_name(wanted, rest):
        yield _REST + key, found.task if found is not None and not found.is_due else None


_Order = Callable[[_TaskFilter, bytes], _Tasks]
_ORDERS: dict[str, _Order] = {
    "": _by_name,
    "name": _by_name,
    "name desc": partial(_by_name, reverse=True),
    "next_fire_time": _by_next_fire,
    "next_fire_time desc": partial(_by_next_fire, reverse=True),
}


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(key in labels and value in ("", labels[key]) for key, value in wanted.items())
