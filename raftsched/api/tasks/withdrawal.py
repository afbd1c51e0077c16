"""Waits until executors have said how far what a change withdrew has got."""

import asyncio
from collections.abc import Iterable

import grpc
from raftsched_proto.v1 import task_pb2

from raftsched.api.context import ApiContext
from raftsched.api.door.errors import ApiError
from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.core.times.spans import in_utc
from raftsched.ports import Reader, Table

_SLACK_S = 5.0
"""Beyond a lease: for the leader to notice that it is over, and for the log."""
_LONGEST_S = 8.0
"""Clients wait 10 s unless they say otherwise: an answer that is no better serves them more than none."""


async def await_withdrawn(
    api: ApiContext, execution_ids: Iterable[bytes], *, again: bool = False
) -> list[task_pb2.TaskWarning]:
    """Wait until none of these executions can start any more, or has started; a warning for each that has.

    An executor that is silent is waited for until its lease is over. Raises ApiError when even that does not settle it,
    as where this node leads no longer; the change has been made. ``again``: it was made by an earlier call, and of what
    was settled since, nobody can tell on which terms it has started.
    """
    left, tokens, started = list(execution_ids), dict[bytes, int](), list[ExecutionRow]()
    if not left:
        return []
    try:
        async with asyncio.timeout(min(_LONGEST_S, api.lease_ms / 1000 + _SLACK_S)):
            while left:
                changed = api.feed.next_change()
                with api.store.read() as reader:
                    left = [each for each in left if _is_open(reader, each, tokens, started, again=again)]
                if left:
                    await changed
    except TimeoutError:
        raise _unsettled(len(left)) from None
    return [_warning(row) for row in sorted(started, key=lambda row: row.nominal_us)]


def _is_open(
    reader: Reader, execution_id: bytes, tokens: dict[bytes, int], started: list[ExecutionRow], *, again: bool
) -> bool:
    found = reader.get(Table.EXECUTIONS, execution_id)
    row = ExecutionRow() if found is None else ExecutionRow.FromString(found)
    token = tokens.get(execution_id, 0 if again else row.fencing_token)
    if row.withdrawn:
        tokens[execution_id] = row.fencing_token
        return True
    # What was given back may have been assigned again and have started since.
    if row.fencing_token == token and (row.state == ExecutionState.RUNNING or row.result.start_us):
        started.append(row)
    return False


def _warning(row: ExecutionRow) -> task_pb2.TaskWarning:
    description = (
        f"the execution for {in_utc(row.nominal_us)} had started on {row.executor_id} when the change came: it goes on "
        "as it was"
    )
    return task_pb2.TaskWarning(description=description)


def _unsettled(count: int) -> ApiError:
    return ApiError(
        grpc.StatusCode.UNAVAILABLE,
        "NOT_WITHDRAWN",
        f"the change was made, but {count} executions that were armed before it may still start: their executors have "
        "not answered. Repeat the call with the same request_id to wait for them",
        applied="unknown",
        retry_delay_s=0.5,
    )
