"""The one way from a decision to the log: commands are stamped here, and pass the gate."""

from collections.abc import Callable

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.gate import Gate
from raftsched.ports import Clock, Fate, Log


class Envelopes:
    """Stamps the commands of one node, and proposes them."""

    def __init__(self, log: Log, clock: Clock, node_id: str, gate: Gate) -> None:
        self._log = log
        self._clock = clock
        self._node_id = node_id
        self._gate = gate

    def command(self, term: int, *, request_id: str = "", actor: str = "") -> pb.Command:
        """A command that carries the time, the leader, its term and the cluster version, and nothing else yet."""
        return pb.Command(
            version=self._gate.cluster_version,
            now_us=self._clock.now_us(),
            leader_id=self._node_id,
            term=term,
            request_id=request_id,
            actor=actor,
        )

    def propose(self, command: pb.Command, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        """See ports.Log.propose. Raises NotYetAllowed: it uses what the cluster version does not have; not proposed."""
        self._gate.check(command)
        self._log.propose(command.SerializeToString(), done, early=early)
