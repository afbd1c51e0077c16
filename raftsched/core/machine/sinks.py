"""The command of the shipping of the history."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.context import Context
from raftsched.core.state.rows import be64
from raftsched.ports import Table


def advance_sink(context: Context, body: pb.AdvanceSink) -> pb.Outcome:
    """Move the cursor of a sink forward; never back, whichever leader says what."""
    key, value = body.name.encode(), be64(body.log_index)
    known = context.batch.get(Table.SINKS, key)
    if known is None or known < value:
        context.batch.put(Table.SINKS, key, value)
    return pb.Outcome()
