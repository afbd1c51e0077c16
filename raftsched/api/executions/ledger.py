"""ListLedger and ListLedgers: walks through the fire record of one task, and of many."""

from collections.abc import Iterable, Iterator
from itertools import islice

from raftsched_proto.v1 import execution_pb2

from raftsched.api.convert import public_ledger_entry, set_time
from raftsched.api.paging import collect, decode_token, encode_token, page_size
from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.state.model import Trigger
from raftsched.core.state.past_attempts import first_start_us
from raftsched.core.state.rows import ExecutionRow, LedgerRow, be64, executions_of, ledger_key_after_task, timestamp_us
from raftsched.definitions.fields import check_name, check_time
from raftsched.definitions.violations import Violations
from raftsched.ports import Reader, Table

DEFAULT_PAGE, LARGEST_PAGE = 1_000, 10_000
_LOOK_BACK_ROWS = 1_000
_LAST_NAME = b"\x7f"
"""Sorts behind every name, which is ASCII."""

_Entries = Iterator[tuple[bytes, execution_pb2.LedgerEntry | None]]


async def list_ledger(reader: Reader, request: execution_pb2.ListLedgerRequest) -> execution_pb2.ListLedgerResponse:
    """One page of a task, oldest nominal time first. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)
    violations = Violations()
    check_name(violations, "task", request.task)
    _check_times(violations, request)
    after = decode_token(request, request.page_token)
    start_us, end_us = _window(request)
    prefix = request.task.encode() + b"\0"
    rows = reader.scan(Table.LEDGER, after + b"\0" if after else prefix + be64(start_us), prefix + be64(end_us))
    page = await collect(_entries(reader, rows), limit)
    return execution_pb2.ListLedgerResponse(entries=page.items, next_page_token=encode_token(request, page.last_key))


async def list_ledgers(reader: Reader, request: execution_pb2.ListLedgersRequest) -> execution_pb2.ListLedgersResponse:
    """One page of many tasks. Raises ApiError (INVALID_ARGUMENT)."""
    limit = page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)
    violations = Violations()
    for field in ("first_task", "last_task"):
        if name := getattr(request, field):
            check_name(violations, field, name)
    _check_times(violations, request)
    after = decode_token(request, request.page_token)
    page = await collect(_of_many(reader, request, after), limit)
    return execution_pb2.ListLedgersResponse(entries=page.items, next_page_token=encode_token(request, page.last_key))


def _check_times(
    violations: Violations, request: execution_pb2.ListLedgerRequest | execution_pb2.ListLedgersRequest
) -> None:
    check_time(violations, "start_time", request.start_time)
    check_time(violations, "end_time", request.end_time)
    violations.raise_any()


def _window(request: execution_pb2.ListLedgerRequest | execution_pb2.ListLedgersRequest) -> tuple[int, int]:
    return timestamp_us(request.start_time), timestamp_us(request.end_time) or MAX_US + 1


def _of_many(reader: Reader, request: execution_pb2.ListLedgersRequest, after: bytes) -> _Entries:
    """From task to task; a row without an entry says that one is done, so that a page counts those without entries."""
    start_us, end_us = _window(request)
    name, separator, rest = after.partition(b"\0")
    if separator:
        first = max(after + b"\0", name + b"\0" + be64(start_us))
        yield from _entries(reader, reader.scan(Table.LEDGER, first, name + b"\0" + be64(end_us)))
        name, rest = name + b"\1", b""
    position = name + rest or request.first_task.encode()
    last = ledger_key_after_task(request.last_task) if request.last_task else _LAST_NAME
    while (found := next(reader.scan(Table.LEDGER, position, last), None)) is not None:
        prefix = found[0].partition(b"\0")[0] + b"\0"
        first = prefix + be64(start_us)
        if (covering := _covering(reader, prefix, start_us)) is not None:
            yield from _entries(reader, [covering])
        yield from _entries(reader, reader.scan(Table.LEDGER, first, prefix + be64(end_us)))
        position = prefix[:-1] + b"\1"
        yield position, None


def _covering(reader: Reader, prefix: bytes, start_us: int) -> tuple[bytes, bytes] | None:
    """The entry of a range of nominal times by schedule that began before ``start_us`` and goes on until then."""
    earlier = reader.scan(Table.LEDGER, prefix, prefix + be64(start_us), reverse=True)
    for key, value in islice(earlier, _LOOK_BACK_ROWS):
        row = LedgerRow.FromString(value)
        if row.trigger == Trigger.SCHEDULE:
            return (key, value) if row.last_nominal_us >= start_us else None
    return None


def _entries(reader: Reader, rows: Iterable[tuple[bytes, bytes]]) -> _Entries:
    for key, value in rows:
        yield key, _with_start(reader, key, value)


def _with_start(reader: Reader, key: bytes, value: bytes) -> execution_pb2.LedgerEntry:
    entry = public_ledger_entry(key, value)
    rows = [_kept(reader, execution_id) for execution_id in executions_of(key, LedgerRow.FromString(value))]
    kept = [row for row in rows if row is not None]
    if not rows or len(kept) < len(rows):
        return entry
    last = max(kept, key=lambda row: first_start_us(row) or MAX_US)
    entry.execution_state = last.state  # type: ignore[assignment]  # the enum of the stub is an int
    set_time(entry.start_time, first_start_us(last))
    return entry


def _kept(reader: Reader, execution_id: bytes) -> ExecutionRow | None:
    value = reader.get(Table.EXECUTIONS, execution_id)
    return None if value is None else ExecutionRow.FromString(value)
