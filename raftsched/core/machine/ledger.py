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
    command = context.command
    row = LedgerRow(
        last_nominal_us=decided.last_nominal_us,
        count=decided.count,
        decision=decided.decision,
        trigger=trigger,
        decide_us=command.now_us,
        leader_id=command.leader_id,
        term=command.term,
        uid=item.uid,
        generation=item.generation,
        misfire_policy=item.misfire_policy,
        overlap_policy=item.overlap_policy,
        delivery=item.delivery,
    )
    if decided.reason:
        row.reason = decided.reason
    if decided.into_us:
        row.into_us = decided.into_us
    if parent_ids:
        row.parent_execution_ids.extend(parent_ids)
    if decided.decision == Decision.RAN and item.executor_ids:
        row.executor_ids.extend(item.executor_ids)
    key = ledger_key(item.task, decided.nominal_us, execution_id)
    context.batch.put(Table.LEDGER, key, row.SerializeToString())
    if decided.decision != Decision.RAN:
        context.applied.ledger.append(key)


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
