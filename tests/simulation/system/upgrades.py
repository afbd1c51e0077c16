"""Nodes of two versions: upgraded and taken back at any time, they stop when the cluster has gone on without them."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.fields import SINCE
from raftsched.commands.versions import FIRST_VERSION, NEWEST_VERSION, Versions
from raftsched.ports import NodeOutdated
from tests.simulation.consensus.world import Violation
from tests.simulation.system.node import Node

_NEWER = NEWEST_VERSION + 1
_SINCE = SINCE | {"raftsched.internal.v1.Command.run_task": _NEWER, "raftsched.v1.Task.time_limit": _NEWER}
OLDER_PROGRAM = Versions(NEWEST_VERSION, _SINCE)
NEWER_PROGRAM = Versions(_NEWER, _SINCE)
"""Brings manual runs, and time limits of tasks."""


class VersionWatch:
    """Holds what makes a node stop against what the log has said before."""

    def __init__(self) -> None:
        self.raised = FIRST_VERSION
        """The highest cluster version that an entry which was committed has raised to."""
        self.stops = 0

    def take(self, command: bytes) -> None:
        """An entry that is about to be applied."""
        parsed = pb.Command.FromString(command)
        if parsed.HasField("raise_version"):
            self.raised = max(self.raised, parsed.raise_version.to)

    def stopped(self, node: Node, error: NodeOutdated) -> None:
        """A node has stopped for good, as it says."""
        self.stops += 1
        if self.raised <= node.versions.newest:
            raise Violation(f"version: {node.id} stopped, and the cluster version had not been raised: {error}")
