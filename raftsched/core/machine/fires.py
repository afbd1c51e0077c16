"""Commands that make a task fire: its schedule, or somebody who asked for a run."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import policy_pb2

from raftsched.core.machine.admission import admit, begin
from raftsched.core.machine.context import FAILED_PRECONDITION, NOT_FOUND, Context, rejected, required
from raftsched.core.machine.ledger import write_ledger
from raftsched.core.machine.placement import new_execution
from raftsched.core.machine.queueing import enter_open
from raftsched.core.machine.tasks import resume, set_cursor
from raftsched.core.machine.terms import terms_of
from raftsched.core.policy import overlap
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, OverlapPolicy, Trigger
from raftsched.core.state.rows import be64, decode_cursor, due_key, due_value
from raftsched.ports import Table

_RAN = int(Decision.RAN)
"""A plain number: see EXECUTION_STATES."""


def fire(context: Context, body: pb.Fire) -> pb.Outcome:
    """Decide nominal times of many tasks."""
    for item in body.items:
        _fire_one(context, item)
    return pb.Outcome()


def _fire_one(context: Context, item: pb.Fire.Item) -> None:
    """Decide nominal times of one task, if it and its cursor still are what the proposer saw.

    The due row is the guard: it goes away when the task is paused, deleted or fired by somebody else, and names another
    revision when it is changed.
    """
    batch, name, decisions = context.batch, item.task.encode(), list(item.decided)
    uid, revision, resume_us = item.uid, item.expected_revision, item.resume_us
    key = due_key(resume_us or item.expected_next_us, name)
    if batch.get(Table.DUE, key) != due_value(uid, revision) or not (decisions or resume_us):
        return
    batch.delete(Table.DUE, key)
    if resume_us:
        resume(context, item)
        revision = context.index
    if decisions:
        last_us = decisions[-1].last_nominal_us
    else:
        last_us = decode_cursor(required(batch, Table.CURSORS, name)).last_us
    next_us = item.next_us
    set_cursor(context, name, uid, revision, next_us, last_us, next_us)
    for decided in decisions:
        nominal_us = decided.nominal_us
        execution_id = ids.execution_id(uid, item.generation, nominal_us)
        if decided.decision == _RAN:
            row = new_execution(context, item, Trigger.SCHEDULE, nominal_us)
            admit(context, item, decided, execution_id, row)
        write_ledger(context, item, execution_id, decided, Trigger.SCHEDULE)


def run_task(context: Context, body: pb.RunTask) -> pb.Outcome:
    """Run a task now, whatever its schedule says."""
    found = context.batch.get(Table.TASKS, body.name.encode())
    if found is None:
        return rejected(NOT_FOUND, f"there is no task named {body.name!r}")
    task = pb.TaskRow.FromString(found)
    item = terms_of(task)
    if task.task.placement == policy_pb2.PLACEMENT_EVERY:
        if not body.executor_ids:
            return rejected(FAILED_PRECONDITION, f"no connected executor carries the labels of the task {body.name!r}")
        item.executor_ids.extend(body.executor_ids)
    now_us = context.command.now_us
    execution_id = ids.execution_id(item.uid, item.generation, now_us, be64(context.index))
    row = new_execution(context, item, Trigger.MANUAL, now_us)
    if item.overlap_policy > OverlapPolicy.ALLOW:
        row.max_running = overlap.limit(item.max_running)
        enter_open(context, item.uid, execution_id, len(item.executor_ids))
    item.misfire_policy = item.overlap_policy = 0
    ran = pb.Fire.Decided(nominal_us=now_us, last_nominal_us=now_us, count=1, decision=Decision.RAN)
    ran.executor_id = body.executor_id
    begin(context, item, ran, execution_id, row)
    write_ledger(context, item, execution_id, ran, Trigger.MANUAL)
    pinned = [ids.pinned_id(execution_id, executor_id) for executor_id in item.executor_ids]
    return pb.Outcome(execution_id=min(pinned, default=execution_id))
