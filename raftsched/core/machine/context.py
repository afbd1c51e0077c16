"""What every command of the state machine works with."""

from dataclasses import dataclass, field

from raftsched.core.rows import ExecutionRow
from raftsched.core.state_check import Step
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Batch, Table

# google.rpc.Code
OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED, UNIMPLEMENTED = 0, 3, 5, 6, 9, 10, 12
RESOURCE_EXHAUSTED = 8


@dataclass(slots=True)
class Applied:
    """What one command did: its outcome, the executions that it changed, as they are after it, and the names of the
    tasks whose definition it changed.
    """

    """What one command did: its outcome, and what it changed, as it is after it."""

    outcome: pb.Outcome
    executions: list[tuple[bytes, ExecutionRow]] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    step: Step | None = None
    """Of the comparison of the nodes' tables, if it was one."""
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
    """Executions that the command has ended so far."""


def rejected(code: int, message: str, field_name: str = "") -> pb.Outcome:
    """The outcome of a command that changed nothing."""
    return pb.Outcome(code=code, message=message, field=field_name)


def required(batch: Batch, table: Table, key: bytes) -> bytes:
    """The value of a row that the invariants of the tables promise."""
    value = batch.get(table, key)
    assert value is not None, f"{table} has no row for {key!r}"
    return value
