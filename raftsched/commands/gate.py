"""What may be proposed now: only what every member of the cluster understands. See docs/adr/0010."""

from collections.abc import Callable, Sequence

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.versions import VERSIONS, Versions


class NotYetAllowed(Exception):
    """A command uses what the cluster version does not have yet. It was not proposed; the message says who is older."""

    def __init__(self, what: str, since: int, cluster_version: int, older: Sequence[str]) -> None:
        who = f"{' and '.join(older)} must be upgraded first" if older else "its raise is under way or held back"
        super().__init__(
            f"{what} needs cluster version {since}, and the cluster is at version {cluster_version}: {who}. "
            "Nothing was done"
        )
        self.what = what
        self.since = since


def _nobody(_version: int) -> Sequence[str]:
    return ()


class Gate:
    """Asked by every proposer before it uses a command, field or row format that is not of the first version."""

    def __init__(
        self,
        cluster_version: Callable[[], int],
        versions: Versions = VERSIONS,
        older: Callable[[int], Sequence[str]] = _nobody,
    ) -> None:
        """``cluster_version`` is that of the applied state; ``older`` names the members that do not know a version."""
        self._cluster_version = cluster_version
        self._versions = versions
        self._older = older

    @property
    def cluster_version(self) -> int:
        """Under which commands are proposed now."""
        return self._cluster_version()

    def allows(self, name: str) -> bool:
        """Whether the field or enum value of this full name may be used."""
        return self._versions.since[name] <= self.cluster_version

    def check(self, command: pb.Command) -> None:
        """Raises NotYetAllowed."""
        if what := self._versions.beyond(command.version, command):
            since = self._versions.since.get(what, command.version + 1)
            raise NotYetAllowed(what.rpartition("v1.")[2], since, command.version, self._older(since))
