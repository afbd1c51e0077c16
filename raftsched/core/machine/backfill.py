"""The command that runs nominal times of the past.

Its executions wait in ``Table.OPEN``, in a class of their own behind the queue of the task, and ``promote`` starts them
as others end: a backfill goes on under whichever leader, and there is nothing to resume.
"""

from itertools import islice

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.context import (
    ABORTED,
    FAILED_PRECONDITION,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    Context,
    rejected,
)
from raftsched.core.machine.ledger import write_ledger
from raftsched.core.machine.placement import new_execution, write_execution
from raftsched.core.machine.queueing import promote
from raftsched.core.machine.terms import terms_of
from raftsched.core.policy import overlap
from raftsched.core.policy.overlap import MAX_BACKFILLS
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState, OverlapPolicy, Trigger
from raftsched.core.state.rows import backfill_open_key, backfill_queue_key, be64
from raftsched.ports import Table


def backfill_task(context: Context, body: pb.BackfillTask) -> pb.Outcome:
    """Make an execution and a ledger entry for each nominal time, and start as many as may run at once."""
    found = context.batch.get(Table.TASKS, body.name.encode())
    if found is None:
        return rejected(NOT_FOUND, f"there is no task named {body.name!r}")
    task = pb.TaskRow.FromString(found)
    if task.revision != body.expected_revision:
        return rejected(ABORTED, f"the task {body.name!r} has changed since it was read")
    if problem := _check_open(context, task.uid, body):
        return problem
    item = terms_of(task)
    limit = overlap.limit(item.max_running) if item.overlap_policy > OverlapPolicy.ALLOW else 0
    # Neither policy had a say in what a backfill runs.
    item.misfire_policy = item.overlap_policy = 0
    outcome = pb.Outcome()
    for nominal_us in body.nominal_us:
        execution_id = ids.execution_id(item.uid, item.generation, nominal_us, b"backfill" + be64(context.index))
        row = new_execution(context, item, Trigger.BACKFILL, nominal_us)
        row.state = ExecutionState.PENDING
        row.queued = True
        # It counts from the nominal time, and has passed.
        row.start_by_us = 0
        row.max_running = limit
        row.backfill_max_running = body.max_running
        context.batch.put(Table.OPEN, backfill_queue_key(item.uid, execution_id), b"")
        context.batch.put(Table.HELD, execution_id, b"")
        write_execution(context, execution_id, row)
        ran = pb.Fire.Decided(nominal_us=nominal_us, last_nominal_us=nominal_us, count=1, decision=Decision.RAN)
        write_ledger(context, item, execution_id, ran, Trigger.BACKFILL)
        outcome.results.add(execution_id=execution_id, nominal_us=nominal_us)
    promote(context, item.uid)
    return outcome


def _check_open(context: Context, uid: int, body: pb.BackfillTask) -> pb.Outcome | None:
    """Why the backfill cannot be taken, in view of those of the task that have not ended; None when it can."""
    first, stop = ids.first_id(body.nominal_us[0]), ids.first_id(body.nominal_us[-1] + 1_000)
    if between := _count(context, uid, first, stop):
        message = (
            f"{between} executions of another backfill between these times have not ended: wait for their end, or "
            "cancel them"
        )
        return rejected(FAILED_PRECONDITION, message)
    if (open_ := _count(context, uid, b"", b"\xff" * 16)) + len(body.nominal_us) > MAX_BACKFILLS:
        message = (
            f"{open_} executions of backfills of the task have not ended, and with {len(body.nominal_us)} more there "
            f"would be over {MAX_BACKFILLS}"
        )
        return rejected(RESOURCE_EXHAUSTED, message)
    return None


def _count(context: Context, uid: int, first: bytes, stop: bytes) -> int:
    return sum(
        1
        for key in (backfill_queue_key, backfill_open_key)
        for _ in islice(context.batch.scan(Table.OPEN, key(uid, first), key(uid, stop)), MAX_BACKFILLS)
    )
