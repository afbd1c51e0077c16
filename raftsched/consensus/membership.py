"""Who belongs to the shard, and how that changes: one node at a time (Raft dissertation 4.1 to 4.2).

Voters elect and commit. A learner gets entries and snapshots, and neither counts nor is asked for its vote, until it
has caught up and is made a voter. The members are an entry of the log and in force as soon as it is in the log, so an
entry that is cut takes its members with it. Members of which the log no longer tells are in the state tables.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from raftsched_proto.internal.v1 import raft_pb2 as pb

from raftsched.commands.unknown import unknown_field
from raftsched.commands.versions import VERSIONS
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import CONFIG, LogEntry
from raftsched.ports import Peer, Reader, Store, Table

MEMBERS_KEY = b"members"
"""Row of META: index of the entry (8 bytes, big-endian) and the members, once they have changed."""
MAX_MEMBERS = 9
_INDEX_BYTES = 8


@dataclass(frozen=True)
class Members:
    """All nodes of a shard at one time, in the order of their ids."""

    voters: tuple[Peer, ...]
    learners: tuple[Peer, ...] = ()
    cluster_identity: str = ""
    """Of the cluster that they make; "": it is from before there were identities."""

    @cached_property
    def voter_ids(self) -> tuple[str, ...]:
        """Of those who elect and commit."""
        return tuple(peer.id for peer in self.voters)

    @cached_property
    def learner_ids(self) -> tuple[str, ...]:
        """Of those who only get entries."""
        return tuple(peer.id for peer in self.learners)

    def encode(self) -> bytes:
        """What stands in the log."""
        message = pb.ShardMembers(cluster_identity=self.cluster_identity)
        for peer, votes in [*((peer, True) for peer in self.voters), *((peer, False) for peer in self.learners)]:
            message.members.add(id=peer.id, address=peer.address, votes=votes, incarnation=peer.incarnation)
        return message.SerializeToString()

    @classmethod
    def decode(cls, data: bytes) -> "Members":
        """Raises ValueError: these are no members."""
        try:
            message = pb.ShardMembers.FromString(data)
        except Exception as error:
            raise ValueError("the entry holds no members") from error
        ids = [member.id for member in message.members]
        if not all(ids) or len(set(ids)) != len(ids) or not any(member.votes for member in message.members):
            raise ValueError("the members of the entry make no shard")
        return cls(
            tuple(Peer(each.id, each.address, each.incarnation) for each in message.members if each.votes),
            tuple(Peer(each.id, each.address, each.incarnation) for each in message.members if not each.votes),
            message.cluster_identity,
        )

    def incarnation(self, node_id: str) -> str | None:
        """Of the directory that counts as this member's; "": not known. None: it is no member."""
        return self.incarnations.get(node_id)

    @cached_property
    def incarnations(self) -> dict[str, str]:
        """Of all members, by id."""
        return {peer.id: peer.incarnation for peer in (*self.voters, *self.learners)}


class ChangeKind(Enum):
    """What a change does to one node."""

    ADD_LEARNER = "add as a learner"
    PROMOTE = "make a voter"
    REMOVE = "remove"
    REJOIN = "take in anew as a learner"
    """Its directory is another one: to Raft the removal of one server and the addition of another, which counts for
    nothing yet."""


@dataclass(frozen=True, slots=True)
class MemberChange:
    """One node joins, votes from now on, or goes."""

    kind: ChangeKind
    peer: Peer
    """Its address and incarnation count when it is added or taken in anew."""


ChangeDone = Callable[[str], None]
"""Gets "" when the change is committed and applied, or why it was not made, or that nobody knows."""


def changed(members: Members, change: MemberChange) -> Members:
    """The members after the change.

    Raises ValueError: it makes no sense; the message says why.
    """
    kind, peer = change.kind, change.peer
    voters = {each.id: each for each in members.voters}
    learners = {each.id: each for each in members.learners}
    if kind is ChangeKind.ADD_LEARNER:
        if peer.id in voters or peer.id in learners:
            raise ValueError(f"{peer.id} is a member already")
        if len(voters) + len(learners) >= MAX_MEMBERS:
            raise ValueError(f"a shard has at most {MAX_MEMBERS} members")
        learners[peer.id] = peer
    elif kind is ChangeKind.PROMOTE:
        if peer.id not in learners:
            raise ValueError(f"{peer.id} is not a learner of the shard")
        voters[peer.id] = learners.pop(peer.id)
    elif kind is ChangeKind.REJOIN:
        if peer.id not in voters and peer.id not in learners:
            raise ValueError(f"{peer.id} is not a member of the shard")
        if list(voters) == [peer.id]:
            raise ValueError(f"{peer.id} is the only voter of the shard")
        voters.pop(peer.id, None)
        learners[peer.id] = peer
    else:
        if peer.id not in voters and peer.id not in learners:
            raise ValueError(f"{peer.id} is not a member of the shard")
        if list(voters) == [peer.id]:
            raise ValueError(f"{peer.id} is the only voter of the shard")
        voters.pop(peer.id, None)
        learners.pop(peer.id, None)
    return replace(members, voters=_sorted(voters), learners=_sorted(learners))


class Membership:
    """The members in force on this node."""

    def __init__(self, store: Store, journal: Journal, peers: tuple[Peer, ...]) -> None:
        """``peers`` are the voters of a shard from before there were identities whose members have never changed."""
        self.on_applied: Callable[[Members], None] = _ignore
        """Takes the members that are in the state tables now, within the store's open batch."""
        self._store = store
        self._journal = journal
        self._first = Members(_sorted({peer.id: peer for peer in peers}))
        self.index = 0
        """The entry that the members in force are of; 0: the first."""
        self.members = self._first
        with store.read() as view:
            self._applied = self._read(view)
        self.refresh()

    def refresh(self) -> bool:
        """Look at the log again; whether other members are in force now."""
        index, members = self._applied
        entry = self._journal.last_config
        if entry is not None and entry.index > index:
            if entry.index == self.index and entry.data[1:] == self.members.encode():
                return False
            index, members = entry.index, Members.decode(entry.data[1:])
        if (index, members) == (self.index, self.members):
            return False
        self.index, self.members = index, members
        return True

    @property
    def applied_cluster_identity(self) -> str:
        """Of the cluster that the state tables are of; "": of one that has none, or none yet."""
        return self._applied[1].cluster_identity

    def applied(self, entry: LogEntry) -> None:
        """An entry with members is applied, within the store's open batch.

        Raises NodeOutdated: it says of them what this program does not know, and would lose with the next change.
        """
        if unknown := unknown_field(pb.ShardMembers.FromString(entry.data[1:])):
            VERSIONS.refuse_unknown(f"log entry {entry.index}", f"field {unknown} of the members")
        self._applied = (entry.index, Members.decode(entry.data[1:]))
        self._store.batch().put(Table.META, MEMBERS_KEY, entry.index.to_bytes(_INDEX_BYTES, "big") + entry.data[1:])
        self.on_applied(self._applied[1])

    def restored(self) -> None:
        """A snapshot was installed in the store's open batch: the members that it holds."""
        self._applied = self._read(self._store.batch())
        self.on_applied(self._applied[1])

    def _read(self, reader: Reader) -> tuple[int, Members]:
        row = reader.get(Table.META, MEMBERS_KEY)
        if row is None:
            return 0, self._first
        return int.from_bytes(row[:_INDEX_BYTES], "big"), Members.decode(row[_INDEX_BYTES:])


def config_entry(members: Members) -> bytes:
    """The data of an entry that puts the members in force."""
    return CONFIG + members.encode()


def _ignore(_members: Members) -> None:
    pass


def _sorted(peers: dict[str, Peer]) -> tuple[Peer, ...]:
    return tuple(peers[peer_id] for peer_id in sorted(peers))
