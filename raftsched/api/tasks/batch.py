"""BatchCreateTasks: many registrations in few commands."""

import asyncio
from collections.abc import Iterator, Sequence

import grpc
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.calendars.known import known_calendars
from raftsched.api.convert import uid_text
from raftsched.api.door.errors import (
    ApiError,
    calendars_changed,
    invalid_field,
    outcome_unknown,
    raise_for_outcome,
    refusal,
)
from raftsched.api.proposals import ATTEMPTS, Proposals, Reads
from raftsched.core.machine import MAX_BATCH_TASKS
from raftsched.definitions.task import is_huge, new_task_in_time
from raftsched.definitions.violations import Invalid

CHUNK_TASKS = 2_000
"""Every node applies a command in one go; this many take it some tens of milliseconds."""
CHUNK_BYTES = 2 << 20
_TASKS_PER_TURN = 20


async def create_tasks(
    proposals: Proposals, reads: Reads, sent: Sequence[task_pb2.Task], request_key: str
) -> list[task_pb2.BatchCreateTaskResult]:
    """One result per task, in order. Raises ApiError when a command did not get through.

    Chunks depend on nothing but the request, so that a repeated request finds the outcome of each under its own key.
    """
    if len(sent) > MAX_BATCH_TASKS:
        raise invalid_field("tasks", f"has {len(sent)} tasks; at most {MAX_BATCH_TASKS} are allowed in a call")
    tasks = list(sent)
    results: list[task_pb2.BatchCreateTaskResult] = []
    for number, chunk in enumerate(_chunks(tasks)):
        try:
            results += await _create_chunk(proposals, reads, chunk, f"{request_key}/{number}" if request_key else "")
        except ApiError as error:
            if number:
                raise outcome_unknown(f"the first {len(results)} tasks were decided, then: {error.message}") from error
            raise
    return results


def _chunks(tasks: list[task_pb2.Task]) -> Iterator[list[task_pb2.Task]]:
    chunk: list[task_pb2.Task] = []
    size = 0
    for task in tasks:
        if len(chunk) >= CHUNK_TASKS or (chunk and size + task.ByteSize() > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(task)
        size += task.ByteSize()
    if chunk:
        yield chunk


async def _create_chunk(
    proposals: Proposals, reads: Reads, tasks: list[task_pb2.Task], request_key: str
) -> list[task_pb2.BatchCreateTaskResult]:
    for _ in range(ATTEMPTS):
        outcomes, refusals = await _propose_chunk(proposals, reads, tasks, request_key)
        if outcomes is not None:
            return [
                _result(task, outcome, refusals.get(position))
                for position, (task, outcome) in enumerate(zip(tasks, outcomes, strict=True))
            ]
    raise calendars_changed()


async def _propose_chunk(
    proposals: Proposals, reads: Reads, tasks: list[task_pb2.Task], request_key: str
) -> tuple[list[pb.Outcome] | None, dict[int, ApiError]]:
    """The outcome of each task, and what was refused before it was proposed. No outcomes: a calendar has changed."""
    calendars = await known_calendars(reads, (task.schedule for task in tasks if not is_huge(task)))
    command = proposals.command(request_key)
    refusals: dict[int, ApiError] = {}
    for position, task in enumerate(tasks):
        # A refused task leaves its item empty, so that results and tasks keep the same positions in a repeated call,
        # for which the clock may have made other tasks invalid.
        item = command.register_tasks.items.add()
        try:
            new = await new_task_in_time(task, command.now_us, calendars)
            item.task.CopyFrom(new.task)
            item.next_us = new.next_us
            item.calendars_revision = calendars.revision
        except Invalid as error:
            refusals[position] = refusal(error)
        if position % _TASKS_PER_TURN == _TASKS_PER_TURN - 1:
            await asyncio.sleep(0)
    if len(refusals) == len(tasks) and not request_key:
        return [pb.Outcome(code=grpc.StatusCode.INVALID_ARGUMENT.value[0])] * len(tasks), refusals
    outcome = await proposals.propose_early(command, lambda outcome, _reader: outcome)
    if outcome.code == grpc.StatusCode.ABORTED.value[0]:
        return None, refusals
    raise_for_outcome(outcome)
    return list(outcome.results), refusals


def _result(task: task_pb2.Task, outcome: pb.Outcome, refusal: ApiError | None) -> task_pb2.BatchCreateTaskResult:
    if not outcome.code:
        return task_pb2.BatchCreateTaskResult(name=task.name, uid=uid_text(outcome.uid))
    if refusal is None:
        return task_pb2.BatchCreateTaskResult(
            name=task.name, code=outcome.code, message=outcome.message, field=outcome.field
        )
    return task_pb2.BatchCreateTaskResult(
        name=task.name,
        code=refusal.code.value[0],
        message=refusal.message,
        field=refusal.violations[0].field if refusal.violations else "",
    )
