"""What the fire ledger keeps of a decision."""

from raftsched.core.machine.context import Context
from raftsched.core.model import SECOND_US, Trigger
from raftsched.core.rows import ExecutionRow, LedgerRow, ledger_key
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Table


def write_ledger(
    context: Context, task: str, uid: int, execution_id: bytes, decided: pb.Fire.Decided, trigger: Trigger
) -> None:
    """Record a decision about one nominal time or a range of them."""
    command = context.command
    row = LedgerRow(
        last_nominal_us=decided.last_nominal_us,
        count=decided.count,
        decision=decided.decision,
        reason=decided.reason,
        trigger=trigger,
        decide_us=command.now_us,
        leader_id=command.leader_id,
        term=command.term,
        uid=uid,
    )
    context.batch.put(Table.LEDGER, ledger_key(task, decided.nominal_us, execution_id), row.SerializeToString())


def expiry_reason(row: ExecutionRow) -> str:
    """Why an execution with a start deadline never started."""
    deadline_s = (row.start_by_us - row.nominal_us) / SECOND_US
    return f"could not be given to an executor within its start deadline of {deadline_s:g} s"
