"""The cluster version, and how it is raised. See docs/adr/0010."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.versions import CLUSTER_VERSION_KEY, cluster_version, cluster_version_row
from raftsched.core.machine.context import FAILED_PRECONDITION, INVALID_ARGUMENT, Context, rejected
from raftsched.ports import Table


def raise_version(context: Context, body: pb.RaiseVersion) -> pb.Outcome:
    """From here on, commands may use what came with the version. It never falls."""
    if body.to != context.command.version:
        return rejected(INVALID_ARGUMENT, "the raise to a cluster version is a command of that version", "to")
    now = cluster_version(context.batch)
    if body.to <= now:
        return rejected(FAILED_PRECONDITION, f"the cluster version is {now} already", "to")
    context.batch.put(Table.META, CLUSTER_VERSION_KEY, cluster_version_row(body.to))
    context.applied.cluster_version = body.to
    return pb.Outcome()
