"""Whether a nominal time that is to run starts, waits or is skipped."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.context import Context
from raftsched.core.machine.ending import cancel
from raftsched.core.machine.ledger import expiry_reason
from raftsched.core.machine.placement import find_execution, set_deadline, start, write_execution
from raftsched.core.machine.queueing import enter_open, open_executions, queued_executions
from raftsched.core.policy import overlap
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState, OverlapPolicy
from raftsched.core.state.rows import ExecutionRow, queue_key
from raftsched.ports import Table

_ALLOW = int(OverlapPolicy.ALLOW)


def admit(
    context: Context, item: pb.Fire.Item, decided: pb.Fire.Decided, execution_id: bytes, row: ExecutionRow
) -> None:
    """Start, queue or skip a nominal time that is to run, by the overlap policy and what is open at this entry.

    Only the tables know what is open: the proposer may have other fires and reports under way.
    """
    if 0 < row.start_by_us <= context.command.now_us:
        decided.decision = Decision.SKIPPED
        decided.reason = expiry_reason(row)
        return
    if item.overlap_policy > _ALLOW:
        policy = OverlapPolicy(item.overlap_policy)
        row.max_running = overlap.limit(item.max_running)
        if policy is OverlapPolicy.CANCEL_RUNNING:
            _make_room(context, row)
        running, queued = open_executions(context, item.uid), queued_executions(context, item.uid)
        admission = overlap.admit(policy, row.max_running, item.max_queued, len(running), len(queued))
        decided.reason = "; ".join(filter(None, (decided.reason, admission.reason)))
        if admission.verdict is overlap.Verdict.SKIP:
            decided.decision = Decision.SKIPPED
            return
        if admission.verdict is overlap.Verdict.QUEUE:
            row.state = ExecutionState.PENDING
            row.queued = True
            context.batch.put(Table.OPEN, queue_key(item.uid, execution_id), b"")
            context.batch.put(Table.HELD, execution_id, b"")
            set_deadline(context, execution_id, row)
            write_execution(context, execution_id, row)
            return
        enter_open(context, item.uid, execution_id, len(item.executor_ids))
    begin(context, item, decided, execution_id, row)


def begin(
    context: Context, item: pb.Fire.Item, decided: pb.Fire.Decided, execution_id: bytes, row: ExecutionRow
) -> None:
    """Start a nominal time as one execution, or as one on each of the executors that the proposer named."""
    if item.executor_ids:
        row.nominal_id = execution_id
        for executor_id in item.executor_ids:
            pinned = ExecutionRow()
            pinned.CopyFrom(row)
            pinned.pinned_executor_id = executor_id
            start(context, ids.pinned_id(execution_id, executor_id), pinned, decided)
    else:
        start(context, execution_id, row, decided)


def _make_room(context: Context, newcomer: ExecutionRow) -> None:
    """Cancel what waits in the queue, and of the open executions the oldest, so that one more may run when they end."""
    reason = overlap.cancel_reason(newcomer.nominal_us)
    running = open_executions(context, newcomer.uid)
    surplus = running[: max(0, len(running) + 1 - newcomer.max_running)]
    for execution_id in queued_executions(context, newcomer.uid) + surplus:
        row = find_execution(context, execution_id)
        if row is not None and not ExecutionState(row.state).ended and not row.cancel_requested:
            cancel(context, execution_id, row, reason)
