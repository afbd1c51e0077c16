"""Raises the cluster version, as the leader, once every member knows a newer one. See docs/adr/0010."""

import asyncio

import structlog
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.envelope import Envelopes
from raftsched.commands.gate import Gate
from raftsched.commands.versions import FIRST_VERSION
from raftsched.ports import AgreedClock, Fate, Log, ShardStatus

_LOOK_S = 1.0
_log = structlog.get_logger(__name__)


def known_by_all(status: ShardStatus) -> int:
    """The newest cluster version that every member is known to know; the first while one of them has not said."""
    return min(
        (status.newest_versions.get(node_id, FIRST_VERSION) for node_id in (*status.voters, *status.learners)),
        default=FIRST_VERSION,
    )


def older_than(version: int, status: ShardStatus) -> list[str]:
    """The members that do not know the version, as far as this node has heard of them."""
    members = (*status.voters, *status.learners)
    return [each for each in members if status.newest_versions.get(each, FIRST_VERSION) < version]


def founding(version: int, leader_id: str, term: int) -> bytes:
    """The command that a cluster begins with, for the version that all its founders know."""
    # No time is agreed yet.
    command = pb.Command(version=version, leader_id=leader_id, term=term)
    command.raise_version.to = version
    return command.SerializeToString()


class VersionRaiser:
    """Looks now and then whether all members have been upgraded."""

    def __init__(self, log: Log, envelopes: Envelopes, gate: Gate, clock: AgreedClock) -> None:
        self._log = log
        self._clock = clock
        self._envelopes = envelopes
        self._gate = gate
        self._term: int | None = None

    def lead(self, term: int | None) -> None:
        """Begin to lead in ``term``, or stop leading (None)."""
        self._term = term

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._step()

    def _step(self) -> None:
        version = known_by_all(self._log.status())
        if self._term is None or not self._clock.known or version <= self._gate.cluster_version:
            return
        command = self._envelopes.command(self._term)
        command.version = command.raise_version.to = version

        def done(fate: Fate, _outcome: bytes) -> None:
            if fate is Fate.DONE:
                _log.info("raised the cluster version: all members know it", cluster_version=version)

        self._envelopes.propose(command, done)
