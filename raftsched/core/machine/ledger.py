"""What the fire ledger keeps of a decision, and of an end that changes it."""

from collections.abc import Sequence

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.context import Context
from raftsched.core.state.model import SECOND_US, Decision, Trigger
from raftsched.core.state.rows import ExecutionRow, LedgerRow, ledger_key
from raftsched.core.times.spans import in_words
from raftsched.ports import Table

_MAX_REASON_CHARACTERS = 1_000
"""From here on a reason grows no longer: many executions of one nominal time may have one each."""
_RAN = int(Decision.RAN)
_EXPONENT_US = 1_000_000 * SECOND_US
"""From here on so many seconds would be written with an exponent."""


def write_ledger(
    context: Context,
    item: pb.Fire.Item,
    execution_id: bytes,
    decided: pb.Fire.Decided,
    trigger: Trigger,
    parent_ids: Sequence[bytes] = (),
) -> None:
    """Record a decision about one nominal time or a range of them, and the policies of ``item`` that made it."""
    decision, reason, executor_ids = decided.decision, decided.reason, item.executor_ids
    row = _alike(context, item, decided, decision, trigger)
    row.uid = item.uid
    if reason or parent_ids or executor_ids:
        alike, row = row, LedgerRow()
        row.CopyFrom(alike)
        row.reason = reason
        row.parent_execution_ids.extend(parent_ids)
        if decision == _RAN:
            row.executor_ids.extend(executor_ids)
    key = ledger_key(item.task, decided.nominal_us, execution_id)
    context.batch.put(Table.LEDGER, key, row.SerializeToString())
    if decision != _RAN:
        context.applied.ledger.append(key)


def _alike(
    context: Context, item: pb.Fire.Item, decided: pb.Fire.Decided, decision: int, trigger: Trigger
) -> LedgerRow:
    """What this decision of the entry has in common with others."""
    last_us, count, into_us, generation = decided.last_nominal_us, decided.count, decided.into_us, item.generation
    misfire, overlap, delivery = item.misfire_policy, item.overlap_policy, item.delivery
    terms = (last_us, count, into_us, decision, trigger, generation, misfire, overlap, delivery)
    row = context.ledger_alike.get(terms)
    if row is None:
        command = context.command
        row = context.ledger_alike[terms] = LedgerRow(
            last_nominal_us=last_us,
            count=count,
            into_us=into_us,
            decision=decision,
            trigger=trigger,
            decide_us=command.now_us,
            leader_id=command.leader_id,
            term=command.term,
            generation=generation,
            misfire_policy=misfire,
            overlap_policy=overlap,
            delivery=delivery,
        )
    return row


def expiry_reason(row: ExecutionRow) -> str:
    """Why an execution with a start deadline never started, or one that is pinned did not go on."""
    deadline = _in_words(row.start_by_us - row.nominal_us)
    if row.pinned_executor_id:
        by = f"until {deadline} after its nominal time"
        return f"could not be given to the executor {row.pinned_executor_id} {by}: it was gone, or had no room"
    return f"could not be given to an executor within its start deadline of {deadline}"


def _in_words(length_us: int) -> str:
    """All nodes must write the same text, those of an earlier version too, which had it in seconds."""
    return f"{length_us / SECOND_US:g} s" if length_us < _EXPONENT_US else in_words(length_us)


def amend_ledger(context: Context, execution_id: bytes, row: ExecutionRow, decision: Decision, reason: str) -> None:
    """Say in the entry of an execution that its nominal time was skipped or lost after all.

    That of several executions is lost when one of them is, and not skipped when one of them expires.
    """
    key = ledger_key(row.task, row.nominal_us, row.nominal_id or execution_id)
    found = context.batch.get(Table.LEDGER, key)
    if found is not None:
        entry = LedgerRow.FromString(found)
        if decision is Decision.LOST or not row.nominal_id:
            entry.decision = decision
            entry.expired = decision is Decision.SKIPPED
        if len(entry.reason) < _MAX_REASON_CHARACTERS:
            entry.reason = "; ".join(filter(None, (entry.reason, reason)))
        context.batch.put(Table.LEDGER, key, entry.SerializeToString())
