"""The command that compares the state tables of the nodes. It reads them and changes none."""

from raftsched_proto.internal.v1 import check_pb2
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.context import Context
from raftsched.core.machine.hashing import CheckStep, hash_range


def check_state(context: Context, body: check_pb2.CheckState) -> pb.Outcome:
    """Hash the rows of the step as they are now."""
    hashed = None
    if body.HasField("start"):
        start = (body.start.table, body.start.key)
        hashed = hash_range(context.batch, context.index, start, body.max_rows, body.max_bytes)
    context.applied.step = CheckStep(context.command.now_us, body, hashed)
    return pb.Outcome()
