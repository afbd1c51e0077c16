"""Which directory a node speaks for: the identity of its cluster, and its own incarnation (docs/adr/0009).

A vote belongs to a directory, not to an id: whoever lost its disk, or holds an older copy of it, is another server to
Raft (dissertation, chapter 4), and is taken in as one. The row is in RAFT, which no snapshot replaces.
"""

from dataclasses import dataclass

from raftsched_proto.internal.v1 import raft_pb2 as pb

from raftsched.commands.versions import FIRST_VERSION
from raftsched.ports import Clock, Reader, Store, StoreRefused, Table

_ROW_KEY = b"directory"
_PEER_KEY = b"directory of "
_CODE_DIGITS = 8
UNNAMED = "unnamed"
"""Stands for the identity of a cluster from before there were any."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a node shows of its directory."""

    cluster_identity: str = ""
    """32 hexadecimal digits; "": of no cluster yet, or from before there were identities."""
    incarnation: str = ""
    """Drawn when the directory was made, and anew when it may have forgotten something; "": from before."""
    starts: int = 0
    """How many processes have opened it."""
    run: str = ""
    """Drawn at each start of a process."""
    last_index: int = 0
    """The end of its log."""
    founds: bool = False
    """The process was told to found a cluster."""
    newest_version: int = FIRST_VERSION
    """The newest cluster version that the process knows."""

    @property
    def is_empty(self) -> bool:
        """Whether the directory is new and belongs to no cluster yet."""
        return bool(self.incarnation) and not self.cluster_identity and self.last_index <= 1

    def counts_as(self, incarnation: str) -> bool:
        """Whether what it says counts as said by the member with this incarnation.

        A directory from before counts as its node's until it has one of its own.
        """
        return self.incarnation in ("", incarnation)


UNMARKED = Card()
"""Of a directory from before there were identities."""


def code_of(cluster_identity: str) -> str:
    """What names a cluster on a command line: enough of its identity to tell it from others."""
    return cluster_identity[:_CODE_DIGITS] or UNNAMED


def has_forgotten(known: Card | None, shown: Card) -> bool:
    """Whether the directory is an older state of the one that was known: it lacks a start, or what came of one."""
    if known is None:
        return False
    if not shown.incarnation:
        return bool(known.incarnation) and bool(known.cluster_identity)
    if known.incarnation != shown.incarnation:
        return False
    return shown.starts < known.starts or (shown.starts == known.starts and shown.run != known.run)


class Directory:
    """The directory of this node. Changes go to the store's open batch."""

    def __init__(self, store: Store | None = None) -> None:
        """One from before; ``open_directory`` gives the real ones."""
        self._store = store
        self._row = pb.OwnDirectory()
        self._known: dict[str, Card] = {}
        self.founds = False
        self.newest_version = FIRST_VERSION
        self.copy_of = ""
        """Why this directory was taken for a copy at its last start; "" when it was not, or counts again."""

    @property
    def cluster_identity(self) -> str:
        """See Card."""
        return self._row.directory.cluster_identity

    @property
    def incarnation(self) -> str:
        """See Card."""
        return self._row.directory.incarnation

    @property
    def is_new(self) -> bool:
        """Whether it was made by a version that knows identities, and belongs to no cluster yet."""
        return bool(self.incarnation) and not self.cluster_identity

    @property
    def since_index(self) -> int:
        """The entry that its history begins with."""
        return self._row.since_index

    @property
    def former_cluster_identity(self) -> str:
        """Of the cluster that this one was recovered from; "" for none."""
        return self._row.former_cluster_identity

    @property
    def has_forgotten(self) -> bool:
        """Whether it was found out to be a copy, or to have forgotten something, and was not taken in since."""
        return bool(self._row.former_incarnation)

    def card(self, last_index: int) -> Card:
        """What this node shows."""
        shown = self._row.directory
        return Card(
            shown.cluster_identity,
            shown.incarnation,
            shown.starts,
            shown.run,
            last_index,
            self.founds,
            self.newest_version,
        )

    def known(self, peer_id: str) -> Card | None:
        """What a peer last showed, also to an earlier process."""
        return self._known.get(peer_id)

    def remember(self, peer_id: str, card: Card) -> bool:
        """Keep what a peer shows; whether there is something to commit."""
        known = self._known.get(peer_id)
        key = (card.cluster_identity, card.incarnation, card.starts, card.run)
        if known is not None and (known.cluster_identity, known.incarnation, known.starts, known.run) == key:
            return False
        self._known[peer_id] = card
        if self._store is None or not card.incarnation:
            return False
        self._store.batch().put(Table.RAFT, _PEER_KEY + peer_id.encode(), encode_card(card).SerializeToString())
        return True

    def join(self, cluster_identity: str, since_index: int) -> None:
        """Belong to a cluster from now on."""
        self._row.directory.cluster_identity = cluster_identity
        self._row.since_index = since_index
        self._save()

    def forget(self, clock: Clock) -> None:
        """Be another server from now on: the directory may lack what it acknowledged."""
        if self.incarnation and not self._row.former_incarnation and not self.is_new:
            self._row.former_incarnation = self.incarnation
        self._row.directory.incarnation = clock.token()
        self._save()

    def recover(self, clock: Clock, last_index: int) -> None:
        """Belong to a new cluster that goes on from this directory alone."""
        self._row.former_cluster_identity = self.cluster_identity
        self._row.former_incarnation = ""
        self._row.directory.incarnation = clock.token()
        self.copy_of = ""
        self.join(clock.token(), last_index)

    def taken_in(self, cluster_identity: str, incarnation: str) -> bool:
        """The members, which are committed, name this node's incarnation; whether something changed here."""
        before = self._row.SerializeToString()
        if not self.cluster_identity and cluster_identity:
            self._row.directory.cluster_identity = cluster_identity
        if not self.incarnation and incarnation:
            self._row.directory.incarnation = incarnation
        if incarnation and incarnation == self.incarnation:
            self._row.former_incarnation = ""
            self.copy_of = ""
        if self._row.SerializeToString() == before:
            return False
        self._save()
        return True

    def _save(self) -> None:
        if self._store is not None:
            self._store.batch().put(Table.RAFT, _ROW_KEY, self._row.SerializeToString())

    def _load(self, view: Reader) -> bool:
        """Read the rows; whether there is one of this directory."""
        for key, value in view.scan(Table.RAFT, _PEER_KEY, _PEER_KEY[:-1] + b"!"):
            self._known[key[len(_PEER_KEY) :].decode()] = decode_card(pb.DataDirectory.FromString(value))
        row = view.get(Table.RAFT, _ROW_KEY)
        if row is not None:
            self._row = pb.OwnDirectory.FromString(row)
        return row is not None


def open_directory(
    store: Store, clock: Clock, *, cluster_id: str, place: str = "", copied: str = "", accept_copy: bool = False
) -> Directory:
    """Begin a run with the directory of a store. The caller commits before anybody hears of it.

    ``place`` is kept for the next start; ``copied`` says why the directory is not where it was, "" when it is.
    ``accept_copy``: let a copy count as what it is a copy of.

    Raises StoreRefused: it belongs to a cluster of another name.
    """
    directory = Directory(store)
    with store.read() as view:
        exists = directory._load(view)
        remembers = exists or _is_of_before(view)
    row = directory._row
    if row.cluster_id and row.cluster_id != cluster_id:
        raise StoreRefused(
            f"the data directory belongs to cluster {row.cluster_id!r} (cluster_id), the settings say {cluster_id!r}; "
            "nothing was changed. Correct cluster_id, or give this node a data directory of its own."
        )
    row.cluster_id, row.place = cluster_id, place
    if not remembers:
        row.directory.incarnation = clock.token()
    elif accept_copy:
        row.directory.incarnation = row.former_incarnation or row.directory.incarnation
        row.former_incarnation = ""
    elif copied:
        directory.forget(clock)
    directory.copy_of = copied if row.former_incarnation else ""
    row.directory.starts += 1
    row.directory.run = clock.token()
    directory._save()
    return directory


def stored_identity(view: Reader) -> str:
    """The identity of the cluster that the store belongs to; "" for none."""
    row = view.get(Table.RAFT, _ROW_KEY)
    return "" if row is None else pb.OwnDirectory.FromString(row).directory.cluster_identity


def stored_place(store: Store) -> str:
    """Where the directory was when it was last opened; "" when nobody noted it."""
    with store.read() as view:
        row = view.get(Table.RAFT, _ROW_KEY)
    return "" if row is None else pb.OwnDirectory.FromString(row).place


def encode_card(card: Card) -> pb.DataDirectory:
    """As it travels and is stored."""
    return pb.DataDirectory(
        cluster_identity=card.cluster_identity,
        incarnation=card.incarnation,
        starts=card.starts,
        run=card.run,
        last_index=card.last_index,
        founds=card.founds,
        newest_version=card.newest_version,
    )


def decode_card(message: pb.DataDirectory) -> Card:
    """The inverse of ``encode_card``."""
    return Card(
        message.cluster_identity,
        message.incarnation,
        message.starts,
        message.run,
        message.last_index,
        message.founds,
        max(FIRST_VERSION, message.newest_version),
    )


def _is_of_before(view: Reader) -> bool:
    """Whether a version that knew no identities has left something that counts: entries, or a term."""
    if any(position for position, _ in enumerate(view.scan(Table.LOG))):
        return True
    state = view.get(Table.RAFT, b"state")
    return state is not None and int.from_bytes(state[:8], "big") > 0
