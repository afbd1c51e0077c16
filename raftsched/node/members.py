"""The nodes of the cluster, as one of them knows them: those that the log names, and those that its settings do."""

from collections.abc import Callable, Iterable

from raftsched.consensus.membership import Members
from raftsched.ports import Peer


class KnownMembers:
    """Implements ``ports.MemberList``.

    What the settings name counts also while the log does not: a leader takes it in. The address that they give goes
    before the one in the log, which is of the time when the node was taken in.
    """

    def __init__(self, named: Iterable[Peer]) -> None:
        """``named`` are the peers of the settings."""
        self._named = {peer.id: Peer(peer.id, peer.address) for peer in named}
        self._callbacks: list[Callable[[], None]] = []
        self.current = _sorted(self._named)
        """See ports.MemberList."""

    def take(self, members: Members) -> None:
        """These are in force now."""
        replicated = {peer.id: Peer(peer.id, peer.address) for peer in (*members.voters, *members.learners)}
        current = _sorted(replicated | self._named)
        if current == self.current:
            return
        self.current = current
        for callback in self._callbacks:
            callback()

    def address(self, node_id: str) -> str:
        """See ports.MemberList."""
        return next((peer.address for peer in self.current if peer.id == node_id), "")

    def others(self, node_id: str) -> tuple[Peer, ...]:
        """See ports.MemberList."""
        return tuple(peer for peer in self.current if peer.id != node_id)

    def subscribe(self, callback: Callable[[], None]) -> None:
        """See ports.MemberList."""
        self._callbacks.append(callback)


def _sorted(peers: dict[str, Peer]) -> tuple[Peer, ...]:
    return tuple(peers[peer_id] for peer_id in sorted(peers))
