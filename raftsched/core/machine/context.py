"""What every command of the state machine works with."""

from dataclasses import dataclass, field

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.hashing import CheckStep
from raftsched.core.state.rows import ExecutionRow, LedgerRow
from raftsched.ports import Batch, Table

# google.rpc.Code
OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED = 0, 3, 5, 6, 9, 10
RESOURCE_EXHAUSTED = 8

Terms = tuple[int | str, ...]
"""What decisions of one entry may have in common."""


@dataclass(slots=True)
class Applied:
    """What one command did: its outcome, and what it changed, as it is after it."""

    outcome: pb.Outcome
    executions: list[tuple[bytes, ExecutionRow]] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    step: CheckStep | None = None
    """Of the comparison of the nodes' tables, if it was one."""
    cluster_version: int = 0
    """To which it was raised; 0: it was not."""
    ledger: list[bytes] = field(default_factory=list)
    """Keys of the ledger entries that stand for no execution that runs or ran."""


@dataclass(slots=True)
class Context:
    """The command that is applied, the entry that it stands in, and what it has done so far."""

    batch: Batch
    index: int
    command: pb.Command
    applied: Applied
    ended: list[tuple[bytes, ExecutionRow]] = field(default_factory=list)
    """Executions that the command has ended so far, and what runs after which is to be decided."""
    ended_ids: set[bytes] = field(default_factory=set)
    """All executions that the command has ended."""
    tokens: int = 0
    """How many fencing tokens the command has given."""
    first_token: int = 0
    """The first of them."""
    executions_alike: dict[Terms, ExecutionRow] = field(default_factory=dict)
    """New executions on the same terms, without task, uid and place: an entry may make hundreds."""
    ledger_alike: dict[Terms, LedgerRow] = field(default_factory=dict)
    """Decisions on the same terms. Whose they are is in them as of the one that was written last."""


def rejected(code: int, message: str, field_name: str = "") -> pb.Outcome:
    """The outcome of a command that changed nothing."""
    return pb.Outcome(code=code, message=message, field=field_name)


def required(batch: Batch, table: Table, key: bytes) -> bytes:
    """The value of a row that the invariants of the tables promise."""
    value = batch.get(table, key)
    assert value is not None, f"{table} has no row for {key!r}"
    return value
